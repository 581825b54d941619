"""How much the confinement costs: our whole path against a bare, warm WeasyPrint.

The floor runs in a process of its own so that the bench's process, like every process of ours,
stays free of WeasyPrint; it has the same fonts, the same parsed style sheet and the same HTML,
and is timed inside, so its pipe costs it nothing.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from invoices.documents import press, specimens
from invoices.documents.papers import Language
from invoices.documents.rendering import render_document
from invoices.documents.typesetting import STYLES, typeset

WARM_UP = 3


def compare_render(n: int) -> tuple[float, float]:
    """This function will print a one-page invoice n times each way, taking turns.

    Returns (ours, bare): the medians in seconds, ours from the data to the checked bytes, bare
    from the HTML to the bytes.
    """
    paper = specimens.invoice()
    order = {"html": typeset(paper, Language.KOREAN), "style": STYLES["invoice"]}
    press.start()
    with subprocess.Popen(
        [sys.executable, "-m", "invoices.documents.bench"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=press.environment(),
        text=True,
    ) as floor:
        assert floor.stdin is not None
        assert floor.stdout is not None
        ours, bare = [], []
        floor.stdin.write(json.dumps(order) + "\n")
        for _ in range(n + WARM_UP):
            floor.stdin.write("\n")
            floor.stdin.flush()
            bare.append(float(floor.stdout.readline()))
            started = time.perf_counter()
            render_document(paper=paper, language=Language.KOREAN)
            ours.append(time.perf_counter() - started)
        floor.stdin.close()
    return statistics.median(ours[WARM_UP:]), statistics.median(bare[WARM_UP:])


def _floor() -> None:
    """This function will print the ordered HTML once for every line that comes in."""
    from invoices.documents import weasy  # noqa: PLC0415, the bench's own process never loads it

    order = json.loads(sys.stdin.readline())
    style = Path(__file__).parent / "styles" / f"{order['style']}.css"
    printing = weasy.bare(order["html"], style.read_text(encoding="utf-8"))
    for _ in sys.stdin:
        started = time.perf_counter()
        printing()
        sys.stdout.write(f"{time.perf_counter() - started}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _floor()

"""How fast papers are printed, against a bare, warm WeasyPrint in two ways.

With the same HTML and the same parsed style sheet it tells what our confinement costs; with a
plain page of the same content (boxes that flex, a whole CJK font) what our templates and fonts
gain. The floors run in a process of their own so that the bench's process, like every process of
ours, stays free of WeasyPrint, and are timed inside, so their pipe costs them nothing.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path

from markupsafe import Markup

from invoices.documents import captions, press, specimens
from invoices.documents.papers import Evidence, Language, Paper, Party
from invoices.documents.rendering import render_document
from invoices.documents.shelf import kind_of
from invoices.documents.typesetting import STYLES, environment, typeset

WARM_UP = 3


def compare_render(n: int) -> tuple[float, float]:
    """This function will print a one-page invoice n times each way, taking turns.

    Returns (ours, bare): the medians in seconds, ours from the data to the checked bytes, bare
    from the HTML to the bytes.
    """
    paper = specimens.invoice()
    press.start()
    ours, bare = [], []
    warm_up = min(WARM_UP, n)
    with floor([typeset(paper, Language.KOREAN)], style=STYLES["invoice"]) as printed:
        for _ in range(n + warm_up):
            bare.append(printed())
            started = time.perf_counter()
            render_document(paper=paper, language=Language.KOREAN)
            ours.append(time.perf_counter() - started)
    return statistics.median(ours[warm_up:]), statistics.median(bare[warm_up:])


def mixed(first: int, count: int) -> list[Paper]:
    """This function will return so many one-page papers: invoices and tax invoices in turn."""
    made: list[Paper] = []
    for number in range(first, first + count):
        if number % 2:
            made.append(replace(specimens.invoice(), number=f"2026-{number:06d}"))
        else:
            made.append(replace(specimens.tax_invoice(), number=f"T-2026-{number:06d}"))
    return made


def plain_html(paper: Paper) -> str:
    """This function will put a paper on a plain page: what a first try would look like."""
    pages = environment("plain")
    return pages.get_template(f"{kind_of(paper)}.html").render(
        paper=paper,
        w=captions.KOREAN,
        evidence=captions.EVIDENCE[Language.KOREAN][Evidence.TAX_INVOICE],
        party=_party,
    )


def _party(them: Party) -> Markup:
    parts = (them.registration_number, them.representative, them.address, them.email)
    return Markup("<br>").join(["", *filter(None, parts)])


@contextmanager
def floor(pages: list[str], *, style: str | None) -> Iterator[Callable[[], float]]:
    """This function will print the pages one after the other, again and again, in bare WeasyPrint.

    The yielded function prints one and returns how many seconds it took. Without a `style` of ours
    the pages bring their own.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "invoices.documents.bench"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=press.environment(),
        text=True,
    ) as printer:
        to, back = printer.stdin, printer.stdout
        assert to is not None
        assert back is not None
        to.write(json.dumps({"pages": pages, "style": style}) + "\n")

        def printed() -> float:
            to.write("\n")
            to.flush()
            return float(back.readline())

        try:
            yield printed
        finally:
            to.close()


def _floor() -> None:
    """This function will print the next of the ordered pages for every line that comes in."""
    from invoices.documents import weasy  # noqa: PLC0415, the bench's own process never loads it

    order = json.loads(sys.stdin.readline())
    if order["style"] is None:
        prints: list[Callable[[], bytes]] = [partial(weasy.plain, html) for html in order["pages"]]
    else:
        style = Path(__file__).parent / "styles" / f"{order['style']}.css"
        sheet = style.read_text(encoding="utf-8")
        prints = [weasy.bare(html, sheet) for html in order["pages"]]
    for _, printing in zip(sys.stdin, cycle(prints), strict=False):
        started = time.perf_counter()
        printing()
        sys.stdout.write(f"{time.perf_counter() - started}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _floor()

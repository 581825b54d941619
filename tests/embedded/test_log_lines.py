"""What processes say: all of it in their files, on the terminal what is out of the ordinary."""

from __future__ import annotations

import io
from pathlib import Path

from app.embedded.log_lines import LogLines

REQUEST = b'{"endpoint": "site.home", "event": "request", "level": "info"}\n'
FAULT = b'{"event": "unexpected_error", "level": "error"}\n'


def test_routine_is_kept_and_not_shown(tmp_path: Path) -> None:
    terminal = io.StringIO()
    log = LogLines("web", tmp_path, echo=terminal, width=3, place=0)
    log.take(REQUEST + b"listening\n" + FAULT[:20])
    log.take(FAULT[20:] + REQUEST)
    log.close()
    assert (tmp_path / "web.log").read_bytes() == REQUEST + b"listening\n" + FAULT + REQUEST
    assert terminal.getvalue().splitlines() == [
        "web │ listening",
        f"web │ {FAULT.decode().rstrip()}",
    ]

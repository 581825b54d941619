"""Libraries of the machine that no wheel carries, asked for without loading what needs them.

Source: WeasyPrint's installation page; the same file names are tried as its bindings try.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEBIAN_INSTALL = "apt-get install -y --no-install-recommends"
# The headless shell does the same with half the work of a whole browser.
BROWSERS = (
    *("chromium-headless-shell", "chrome-headless-shell"),
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
)
MACOS_BROWSER = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


@dataclass(frozen=True)
class Missing:
    """Something this machine lacks: what, what then does not work, and the line that gets it."""

    what: str
    why: str
    install: str

    def __str__(self) -> str:
        return f"Missing: {self.what}. Without it, {self.why}. To install it: {self.install}"


@dataclass(frozen=True)
class Library:
    """A shared library by the names it may have, and the packages that bring it."""

    files: tuple[str, ...]
    debian: str
    fedora: str = "pango"
    homebrew: str = "pango"


FOR_PAPERS = (
    Library(("libgobject-2.0.so.0", "libgobject-2.0.dylib"), "libpango-1.0-0"),
    Library(("libpango-1.0.so.0", "libpango-1.0.dylib"), "libpango-1.0-0"),
    Library(("libpangoft2-1.0.so.0", "libpangoft2-1.0.dylib"), "libpangoft2-1.0-0"),
    Library(("libharfbuzz.so.0", "libharfbuzz.0.dylib"), "libpangoft2-1.0-0"),
    Library(("libharfbuzz-subset.so.0", "libharfbuzz-subset.0.dylib"), "libharfbuzz-subset0"),
    Library(("libfontconfig.so.1", "libfontconfig.1.dylib"), "libpangoft2-1.0-0"),
)


def missing(*, browser: bool = False) -> list[Missing]:
    """Return what this machine lacks for papers (and, if asked, for the browser tests)."""
    found = []
    absent = [library for library in FOR_PAPERS if not _loads(library.files)]
    if absent:
        found.append(
            Missing(
                what=", ".join(library.files[0] for library in absent),
                why="invoices and tax papers can't be made into PDFs; everything else works",
                install=_line(
                    debian=[library.debian for library in absent],
                    fedora=[library.fedora for library in absent],
                    homebrew=[library.homebrew for library in absent],
                ),
            )
        )
    if browser and find_browser() is None:
        found.append(
            Missing(
                what="Chromium",
                why="the browser tests fail",
                install=_line(
                    debian=["chromium-headless-shell"],
                    fedora=["chromium-headless"],
                    homebrew=["--cask chromium"],
                ),
            )
        )
    return found


def find_browser() -> Path | None:
    """Return the Chromium (or Chrome) of this machine."""
    for name in BROWSERS:
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin")
        if path:
            return Path(path)
    return MACOS_BROWSER if MACOS_BROWSER.exists() else None


def debian_packages(*, browser: bool) -> list[str]:
    """Return the Debian packages to install for what is missing."""
    packages = {library.debian for library in FOR_PAPERS if not _loads(library.files)}
    if browser and find_browser() is None:
        packages.add("chromium-headless-shell")
    return sorted(packages)


def _loads(files: Sequence[str]) -> bool:
    folders = ["", "/opt/homebrew/lib/", "/usr/local/lib/"] if sys.platform == "darwin" else [""]
    for file in files:
        for folder in folders:
            try:
                ctypes.CDLL(folder + file)
            except OSError:
                continue
            return True
    return False


def _line(*, debian: Sequence[str], fedora: Sequence[str], homebrew: Sequence[str]) -> str:
    def words(packages: Sequence[str]) -> str:
        return " ".join(sorted(set(packages)))

    if sys.platform == "darwin":
        return f"brew install {words(homebrew)}"
    if shutil.which("dnf"):
        return f"sudo dnf install -y {words(fedora)}"
    return f"sudo {DEBIAN_INSTALL} {words(debian)}"


def main(arguments: list[str]) -> int:
    """Print the missing Debian packages, or with --lines what to do about each; 1 if any is."""
    browser = "--browser" in arguments
    if "--lines" in arguments:
        lines = [str(one) for one in missing(browser=browser)]
    else:
        lines = debian_packages(browser=browser)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

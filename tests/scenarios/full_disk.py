"""A disk that is full because it is: the kernel refuses the bytes, not a stand-in of ours.

Where mounting is allowed it is a small file system of its own, filled to the last block; elsewhere
the kernel's limit on the size of files stands in front of an ordinary folder.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Room for what a test stores once the disk has been cleared.
DISK_BYTES = 8 * 1024 * 1024
# Too little for a paper or a drawing, enough for the lines that a test run writes.
FILE_BYTES_MAX = 8 * 1024


class Disk:
    """A folder whose disk can be filled and cleared."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder = folder
        self._mounted = mounted

    @contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more fits for the length of the block."""
        with self._filled() if self._mounted else _files_limited():
            yield

    @contextmanager
    def _filled(self) -> Iterator[None]:
        ballast = self.folder / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        try:
            yield
        finally:
            ballast.unlink()

    def files(self) -> list[Path]:
        """Every file on the disk, whatever it is called."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A disk of a few megabytes at `folder` for the length of the block."""
    folder.mkdir()
    mounted = _mount(folder)
    try:
        yield Disk(folder, mounted=mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(folder: Path) -> bool:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def _files_limited() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

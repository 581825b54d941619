"""Stored files: content-addressed, written whole or not at all, on the local disk.

A path is `<prefix>/<aa>/<sha256>`; prefixes are made by the server, never by a person.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from app.base.config import settings
from app.base.errors import Invalid, NotFound, Unavailable

_PREFIX = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHELF = re.compile(r"[0-9a-f]{2}")
_PART = ".part-"
CHUNK_BYTES = 64 * 1024  # larger pieces are no faster, and the allocator keeps what they took


class FileTooLarge(Invalid):
    """The stream is longer than the limit."""


class FileMissing(NotFound):
    """No such file is stored."""


class StoreUnavailable(Unavailable):
    """The disk refused the write: full, read-only or gone."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What was stored: its digest (hex) and its size in bytes."""

    sha256: str
    size_bytes: int


def put(*, prefix: str, chunks: Iterable[bytes], bytes_max: int | None = None) -> StoredFile:
    """This function will store a stream under its digest; the same bytes twice are one file.

    Raises: FileTooLarge past `bytes_max`; StoreUnavailable when the disk refuses.
    """
    folder = _folder(prefix)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_PART)
    except OSError as error:
        raise _refused(error) from error
    try:
        stored = _write(descriptor, chunks, bytes_max)
        target = path(prefix=prefix, sha256=stored.sha256)
        target.parent.mkdir(exist_ok=True)
        Path(name).replace(target)
    except OSError as error:
        raise _refused(error) from error
    finally:
        Path(name).unlink(missing_ok=True)
    return stored


def _write(descriptor: int, chunks: Iterable[bytes], bytes_max: int | None) -> StoredFile:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(descriptor, "wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if bytes_max is not None and size > bytes_max:
                raise FileTooLarge(f"The file is larger than {bytes_max // 2**20} MiB.")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return StoredFile(digest.hexdigest(), size)


def _refused(error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"The file could not be stored ({error.strerror}). Please try again.")


def path(*, prefix: str, sha256: str) -> Path:
    """This function will return where a file with this digest stands, stored or not."""
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"not a digest: {sha256!r}")
    return _folder(prefix) / sha256[:2] / sha256


def open_stored(*, prefix: str, sha256: str) -> BinaryIO:
    """This function will open a stored file for reading.

    Raises: FileMissing when it is not there.
    """
    try:
        return path(prefix=prefix, sha256=sha256).open("rb")
    except FileNotFoundError as error:
        raise FileMissing("This file is no longer stored.") from error


def read(*, prefix: str, sha256: str) -> bytes:
    """This function will return the whole of a stored file; for papers, not for uploads."""
    with open_stored(prefix=prefix, sha256=sha256) as file:
        return file.read()


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """This function will yield a stream in pieces of at most 64 KiB."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def delete(*, prefix: str, sha256: str) -> None:
    """This function will remove one file; one that is gone already is fine."""
    path(prefix=prefix, sha256=sha256).unlink(missing_ok=True)


def delete_all(*, prefix: str) -> None:
    """This function will remove a prefix and everything below it."""
    folder = _folder(prefix)
    if folder.exists():
        shutil.rmtree(folder)


def is_empty(*, prefix: str) -> bool:
    """This function will tell whether nothing is stored below a prefix."""
    folder = _folder(prefix)
    return not folder.exists() or not any(entry.is_file() for entry in folder.rglob("*"))


def written_before(*, prefix: str, before: datetime) -> Iterator[str]:
    """This function will name what is stored below a prefix and was written before a real time."""
    folder = _folder(prefix)
    for file in folder.glob("??/*"):
        if _DIGEST.fullmatch(file.name) and _is_older(file, before):
            yield file.name


def erase_parts(*, before: datetime) -> int:
    """This function will delete what writers that were killed left half written; it says how many.

    They are known by their age: whoever still writes has written since `before`, a real time.
    """
    gone = 0
    for folder, folders, names in os.walk(settings().files):
        # Below lie the whole ones, which can be many.
        folders[:] = [name for name in folders if not _SHELF.fullmatch(name)]
        for file in (Path(folder) / name for name in names if name.startswith(_PART)):
            if _is_older(file, before):
                file.unlink(missing_ok=True)
                gone += 1
    return gone


def _is_older(file: Path, before: datetime) -> bool:
    try:
        return file.stat().st_mtime < before.timestamp()
    except FileNotFoundError:
        return False


def _folder(prefix: str) -> Path:
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"not a prefix: {prefix!r}")
    return settings().files / prefix

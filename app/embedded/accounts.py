"""Who runs the embedded servers, and where their files live.

PostgreSQL refuses to run as root. Started by root it therefore runs as an unprivileged account,
which can't enter a checkout below a directory that only root may enter: binaries and cluster then
live under /var/lib/tenantry, and var/embedded.json says where. Scratch clusters live in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from app.embedded import identity
from app.embedded.errors import EmbeddedError

ROOT_HOMES = Path("/var/lib/tenantry")
# Scratch data live in memory where it has this much room: they never need the disk, and waiting
# for it is most of what making and dropping databases costs.
MEMORY = Path("/dev/shm")  # noqa: S108 - its folder is ours alone, and checked to be
MEMORY_FREE_MIN_BYTES = 4 * 1024**3
ACCOUNTS = ("tenantry", "nobody")  # the first that exists; initdb refuses ids without a name


@dataclass(frozen=True)
class Account:
    """An unprivileged account to drop to; None elsewhere means: stay who we are."""

    name: str
    uid: int
    gid: int


def account() -> Account | None:
    """Return the account the servers drop to, or None where we are an ordinary user."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        "PostgreSQL can't run as root and this machine has no account «nobody» to drop to: "
        "create one named «tenantry», or name servers of your own in DATABASE_URL and REDIS_URL."
    )


def home(var_directory: Path, *, scratch: bool) -> Path:
    """Return the folder of this checkout's clusters, making it where there is none yet."""
    homes = _in_memory() if scratch else None
    if homes is None:
        if os.geteuid() != 0:
            path = var_directory / "embedded"
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            return path
        homes = ROOT_HOMES
    pointer = var_directory / "embedded.json"
    try:
        path = Path(json.loads(pointer.read_text())["home"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # A random name, not one made from the path: a new clone in an old place is another one.
        path = homes / f"{'scratch' if scratch else 'checkout'}-{secrets.token_hex(6)}"
        pointer.parent.mkdir(parents=True, exist_ok=True)
        private_file(pointer, json.dumps({"home": str(path)}))
    path.mkdir(parents=True, exist_ok=True, mode=0o755)
    if scratch:
        identity.write(path / "owner.json", os.getpid())
        remove_abandoned()
    return path


def _in_memory() -> Path | None:
    """Return our folder in memory, or None where there is none, too little room or a stranger's."""
    path = _memory_homes()
    try:
        room = os.statvfs(MEMORY)
        if min(room.f_bavail * room.f_frsize, _available_bytes()) < MEMORY_FREE_MIN_BYTES:
            return None
        path.mkdir(exist_ok=True, mode=0o755)
        found = path.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return path if ours else None


def _memory_homes() -> Path:
    return MEMORY / f"tenantry-{os.geteuid()}"


def _available_bytes() -> int:
    """Memory that is free or could be at once; its file is Linux's, as the folder is."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 0


def remove_abandoned() -> None:
    """Remove scratch homes whose owner was killed; homes of checkouts are never touched."""
    for path in [*ROOT_HOMES.glob("scratch-*"), *_memory_homes().glob("scratch-*")]:
        record = path / "owner.json"
        if record.exists() and identity.read(record) is None:
            shutil.rmtree(path, ignore_errors=True)


def private_directory(path: Path, owner: Account | None) -> Path:
    """Make a folder only the servers' account may enter."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
    os.chmod(path, 0o700)
    return path


def private_file(path: Path, text: str, owner: Account | None = None) -> Path:
    """Write a file only its owner may read, never readable by others even for a moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if owner is not None:
            os.fchown(descriptor, owner.uid, owner.gid)
        file.write(text)
    fresh.replace(path)
    return path


def kept_secret(path: Path, *, bytes_random: int = 24) -> str:
    """Return the secret kept in `path`, made at the first asking."""
    with contextlib.suppress(FileNotFoundError):
        found = path.read_text().strip()
        if found:
            return found
    path.parent.mkdir(parents=True, exist_ok=True)
    made = secrets.token_urlsafe(bytes_random)
    private_file(path, made + "\n")
    return made

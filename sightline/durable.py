"""Files that survive a kill, and locks that the kernel frees when their holder dies.

Such files are written beside, synced and renamed.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from sightline.errors import SightlineError

LOCK_SECONDS = 1800.0
"""A process waits so long for another one's lock, then fails; `SIGHTLINE_LOCK_SECONDS` changes it."""
_LOCK_POLL_SECONDS = 0.05
SYSTEM_ERROR = re.compile(r"\(os error ([0-9]+)\)")


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(file: Path) -> Generator[None]:
    """Let what the system says of a disk, in a library's words too, name the file that is written.

    Parameters
    ----------
    file : Path
        The file.

    Raises
    ------
    OSError
        What the block raised, with `file` where it names none; Polars writes ``No space left on device (os error 28)``.
    """
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(file)
        raise
    except Exception as error:
        if (found := SYSTEM_ERROR.search(str(error))) is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(file)) from error


def replace_file(file: Path, content: bytes | str | Callable[[Path], object], *, mode: int | None = None) -> None:
    """Replace a file so that readers see the old content or the new one, durably; its folder is made.

    Parameters
    ----------
    file : Path
        The file.
    content : bytes, str or callable
        What it shall hold (text as UTF-8), or a function that writes it to the path it is given.
    mode : int, optional
        Permissions, in force before anything is written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with naming(file):
            if mode is not None:
                os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
            if callable(content):
                content(beside)
            else:
                beside.write_bytes(content.encode() if isinstance(content, str) else content)
            with beside.open("rb+") as handle:
                os.fsync(handle.fileno())
            beside.replace(file)
    except BaseException:
        with suppress(OSError):  # on a disk that takes nothing: the first error is the one to tell
            beside.unlink()
        raise
    sync_folder(file.parent)


@contextmanager
def exclusive(path: Path, seconds: float | None = None) -> Generator[None]:
    """Hold a lock file against other processes; the kernel frees it when the process ends, however it ends.

    Parameters
    ----------
    path : Path
        The lock file; it names the process that holds it. Its folder is made.
    seconds : float, optional
        Wait no longer than this. Default: ``SIGHTLINE_LOCK_SECONDS``, else `LOCK_SECONDS`.

    Raises
    ------
    SightlineError
        Another process held it all the time.
    """
    limit = float(os.environ.get("SIGHTLINE_LOCK_SECONDS", LOCK_SECONDS)) if seconds is None else seconds
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _wait_for_lock(file, path, limit)
        with naming(path):  # unbuffered: the end of the block would try to write it again
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


@contextmanager
def exclusive_if_free(path: Path) -> Generator[bool]:
    """Hold a lock file if nobody else does; yields whether it is held. Its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        yield _try_lock(file)


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_lock(file: TextIO, path: Path, limit: float) -> None:
    deadline = time.monotonic() + limit
    while not _try_lock(file):
        if time.monotonic() >= deadline:
            file.seek(0)
            raise SightlineError(
                f"another process has held this lock for {limit:g} s: process {file.read() or 'unknown'}",
                where=os.fspath(path),
                fix="see whether that process still works (a large backfill may); end it if not, and run again. "
                "SIGHTLINE_LOCK_SECONDS sets how long to wait",
            )
        time.sleep(_LOCK_POLL_SECONDS)

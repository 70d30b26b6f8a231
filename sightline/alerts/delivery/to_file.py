"""Changes as lines of JSON in a file: the record of what was told, and a channel for programs on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.alerts.delivery.outcome import TAKEN, Outcome
from sightline.durable import exclusive


def append(file: Path, lines: Sequence[Mapping[str, Any]], *, is_repeat: bool) -> Outcome:
    """Append lines, durably; each once.

    Parameters
    ----------
    file : Path
        Its folder is made.
    lines : sequence of mapping
        JSON-able, each with ``id``.
    is_repeat : bool
        Whether they may stand there already: then those that do are left out.

    Returns
    -------
    Outcome
    """
    try:
        with exclusive(file.with_name(f".{file.name}.lock"), seconds=30):
            known = _ids(file) if is_repeat else set[str]()
            new = [line for line in lines if line["id"] not in known]
            with file.open("ab+") as handle:
                size = handle.seek(0, os.SEEK_END)
                if size > 0:
                    handle.seek(-1, os.SEEK_END)
                    torn = handle.read(1) != b"\n"
                    handle.write(b"\n" if torn else b"")
                handle.write(b"".join(json.dumps(line, default=str).encode() + b"\n" for line in new))
                handle.flush()
                os.fsync(handle.fileno())
    except OSError as error:
        return Outcome(f"the file cannot be written: {error.strerror}")
    return TAKEN


def _ids(file: Path) -> set[str]:
    """Ids of the whole lines of a file."""
    if not file.is_file():
        return set()
    found: set[str] = set()
    for line in file.read_bytes().split(b"\n")[:-1]:
        try:
            found.add(json.loads(line)["id"])
        except (ValueError, KeyError, TypeError):
            continue  # a line that a kill tore was never told
    return found

"""What people decided about incidents: one line each, durable, never changed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from sightline.durable import sync_folder
from sightline.home import MonitorPaths
from sightline.results.append_only import locked

TIMES = ("effective_at", "from_window", "bad_from", "bad_to")
"""Times of an action that need not be there."""


def append_action(paths: MonitorPaths, action: dict[str, Any]) -> dict[str, Any]:
    """Add what a person said (``kind`` acknowledge, accept or fixed, ``incident``...) to ``actions.jsonl``, durably.

    Returns
    -------
    dict
        The action with ``at`` (ISO 8601, UTC; default now).
    """
    entry = {"at": datetime.now(UTC).isoformat(timespec="microseconds"), **action}
    folder = paths.results
    with locked(folder):
        file = folder / "actions.jsonl"
        with file.open("ab+") as handle:
            size = handle.seek(0, os.SEEK_END)
            torn = size > 0 and _last_byte(handle) != b"\n"
            line = json.dumps(entry, ensure_ascii=False, default=str).encode(errors="replace")
            handle.write((b"\n" if torn else b"") + line + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        sync_folder(folder)
    return entry


def _last_byte(handle: Any) -> bytes:
    handle.seek(-1, os.SEEK_END)
    last = handle.read(1)
    handle.seek(0, os.SEEK_END)
    return last


def read_actions(paths: MonitorPaths) -> list[dict[str, Any]]:
    """All actions, oldest first; what is no action is left out: a line torn by a kill was never confirmed."""
    file = paths.results / "actions.jsonl"
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")  # not `splitlines`: a note may hold line separators of Unicode
    return [action for line in lines if (action := _read(line.decode(errors="replace"))) is not None]


def _read(line: str) -> dict[str, Any] | None:
    """An action with texts in Unicode and times in ISO 8601 with a zone (UTC where the line names none), or None."""
    try:
        action = json.loads(line)
        texts = {name: _text(action[name]) for name in ("kind", "incident")}
        texts |= {name: _text(action[name]) for name in ("user", "note") if action.get(name) is not None}
        times = {name: _aware(action[name]) for name in ("at", *TIMES) if name == "at" or action.get(name)}
        return {**action, **texts, **times}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _text(value: object) -> str:
    return str(value).encode(errors="replace").decode()


def _aware(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC).isoformat()


def acted_at(paths: MonitorPaths) -> datetime | None:
    """When somebody last said something (UTC); None before."""
    return max((datetime.fromisoformat(action["at"]) for action in read_actions(paths)), default=None)

"""What people decided about incidents: one line each, durable, never changed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from sightline.durable import sync_folder
from sightline.home import MonitorPaths
from sightline.results.append_only import locked


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
            handle.write((b"\n" if torn else b"") + json.dumps(entry, ensure_ascii=False, default=str).encode() + b"\n")
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
    """All actions, oldest first; a line torn by a kill is left out (it was never confirmed)."""
    file = paths.results / "actions.jsonl"
    if not file.exists():
        return []
    actions: list[dict[str, Any]] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            actions.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return actions


def acted_at(paths: MonitorPaths) -> datetime | None:
    """When somebody last said something (UTC); None before."""
    return max((datetime.fromisoformat(action["at"]) for action in read_actions(paths)), default=None)

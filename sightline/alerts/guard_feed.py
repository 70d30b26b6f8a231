"""Alert lines of the collector's row guards as changes: read on from where the outbox has got to."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sightline.alerts.changes import Change, operational
from sightline.alerts.outbox import Outbox
from sightline.home import Home

TOLD_FOR = timedelta(hours=24)
"""Older lines are no news any more."""
MAX_BYTES = 4 * 1024 * 1024
"""Read at once; more is read the next time."""


def has_news(home: Home, outbox: Outbox, monitor: str) -> bool:
    """Whether there are alert lines that were not read yet."""
    file = home.monitor(monitor).guards / "alerts.ndjson"
    return file.is_file() and file.stat().st_size != int(outbox.cursor(f"guards/{monitor}") or 0)


def feed_guards(home: Home, outbox: Outbox, monitor: str, owner: str | None, now: datetime) -> int:
    """Put new alert lines of a monitor's row guards into the outbox.

    The collector writes them durably first, so that none is lost if it dies before it was told; the place that was read
    to is moved in the transaction that takes them.

    Parameters
    ----------
    home : Home
    outbox : Outbox
    monitor : str
        Its id.
    owner : str or None
        Who answers for it.
    now : datetime
        Aware.

    Returns
    -------
    int
        How many were new.
    """
    name = f"guards/{monitor}"
    file = home.monitor(monitor).guards / "alerts.ndjson"
    if not file.is_file():
        return 0
    start = int(outbox.cursor(name) or 0)
    with file.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(start if start <= size else 0)  # a shorter file is another one
        start = handle.tell()
        text = handle.read(MAX_BYTES)
    whole = text[: text.rfind(b"\n") + 1]
    if not whole:
        return 0
    changes = [change for line in whole.split(b"\n") if (change := _change(line, monitor, owner, now)) is not None]
    return outbox.add(changes, cursor=(name, str(start + len(whole))))


def _change(text: bytes, monitor: str, owner: str | None, now: datetime) -> Change | None:
    """A line as a change; None for one that a kill tore, and for old ones."""
    try:
        line = cast("dict[str, Any]", json.loads(text))
        at = datetime.fromisoformat(line["at"])
        column, rule, state = str(line["column"]), str(line["rule"]), str(line["state"])
        what = str(line["message"])
    except (ValueError, KeyError, TypeError):
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if now - at > TOLD_FOR:
        return None
    kind = "row_guard_ended" if state == "closed" else "row_guard"
    facts = {"rule": rule, "column": column, "n": line.get("n"), "n_events": line.get("n_events")}
    says = f"{at.isoformat()}|{state}"
    subject = f"{column}/{rule}"
    return operational(
        kind,
        monitor=monitor,
        subject=subject,
        at=at,
        what=what,
        says=says,
        assets=["inferences"],
        owner=owner,
        facts=facts,
    )

"""A specimen for each channel: an invented incident, marked as such, sent at once and past the outbox."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from sightline.alerts.changes import Change, operational
from sightline.alerts.delivery.outcome import Outcome
from sightline.alerts.delivery.reaching import reach
from sightline.alerts.outbox import Message
from sightline.home import Home
from sightline.spec.routes import Routes


def specimen(channel: str) -> Change:
    """An invented change of the kind ``test``; each is another one."""
    facts = {
        "since": "2026-03-01",
        "size": "-4.2 standard deviations",
        "sure": "appears by chance at most once in 1,200 days",
        "budget": "1 per 90d",
        "causes": ["none: this is a specimen"],
        "todo": ["nothing: `sightline alerts test` was run"],
    }
    what = "This is a specimen. If you can read it, alerts reach you."
    now = datetime.now(UTC)
    says = secrets.token_hex(8)
    return operational("test", monitor="", subject=channel, at=now, what=what, says=says, facts=facts, severity="info")


def send_specimen(home: Home, routes: Routes, channel: str) -> tuple[Outcome, float]:
    """Send a specimen to a channel.

    Parameters
    ----------
    home : Home
    routes : Routes
    channel : str
        Its name.

    Returns
    -------
    outcome : Outcome
    seconds : float
        How long that took.
    """
    change = specimen(channel)
    message = Message(change.id, channel, (change,), 1, time.time(), "", "")
    start = time.monotonic()
    outcome = reach(home, routes, message)
    return outcome, time.monotonic() - start

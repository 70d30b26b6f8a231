"""``sightline alerts``: try a channel, deliver what is due, look at the outbox, print the digest."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import click

from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.spec.durations import parse_duration
from sightline.spec.routes import RECORD, Routes, load_routes

STATES = ("queued", "held", "sending", "failed", "sent", "dead")
SHOWN_CHARS = 70


@click.group()
def command() -> None:
    """Tell people: channels, routes and quiet hours stand in alerts/routes.yaml."""


@command.command("test")
@click.option("--to", "channels", multiple=True, metavar="CHANNEL", help="Channel to try; default: all of them.")
def test_channels(channels: tuple[str, ...]) -> None:
    """Send a specimen to channels now, and tell what came of it. Exit code 1: a channel did not take it."""
    from sightline.alerts.delivery.specimen import send_specimen

    home = Home.from_env()
    routes = load_routes(home)
    wanted = channels or (*routes.channels,) or (RECORD,)
    _require_channels(routes, wanted)
    failed = False
    for channel in wanted:
        outcome, seconds = send_specimen(home, routes, channel)
        failed |= bool(outcome.error)
        click.echo(f"{channel}: {outcome.error or f'taken, in {seconds:.1f} s'}")
    sys.exit(1 if failed else 0)


@command.command("send")
@click.option("--every", metavar="DURATION", help="Go on, looking this often (`30s`), until SIGTERM or SIGINT.")
def send(every: str | None) -> None:
    """Deliver what is due. Exit code 1: a channel did not take a message (it is tried again later)."""
    from sightline.alerts.delivery.sending import deliver

    home = Home.from_env()
    pause = None if every is None else _pause(every)
    if pause is None:
        done = deliver(home)
        _print_sent(done)
        sys.exit(1 if done.failed else 0)
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    load_routes(home)  # a mistake that is there at the start ends it
    while not stopped.is_set():
        try:
            done = deliver(home, seconds=max(pause.total_seconds(), 60.0))
        except SightlineError as error:  # a file that is being edited: what waits goes on waiting
            click.echo(f"error: {error}", err=True)
        else:
            if done.sent or done.failed or done.dead:
                _print_sent(done)
        stopped.wait(pause.total_seconds())


@command.command("outbox")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only these; default: all.")
@click.option("--channel", metavar="CHANNEL", help="Only to this channel.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1), help="Deliveries at most, newest first."
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def outbox(states: tuple[str, ...], channel: str | None, limit: int, form: str) -> None:
    """List what was told, to whom, and what waits for what."""
    from sightline.alerts.outbox import Outbox

    with Outbox(Home.from_env()) as box:
        rows = box.listed(states=states, channel=channel, limit=limit)
        counts, resting = box.counts(), box.resting(time.time())
    if form == "json":
        told = [{**row, **{name: _iso(row[name]) for name in row if name.endswith("_at")}} for row in rows]
        down = {name: _iso(at) for name, at in resting.items()}
        click.echo(json.dumps({"counts": counts, "resting": down, "deliveries": told}, indent=2))
        return
    click.echo(", ".join(f"{n} {state}" for state, n in counts.items() if n) or "the outbox is empty")
    for name, at in resting.items():
        click.echo(f"the channel {name} is down; it is tried again at {_clock(at)}")
    for row in rows:
        _print_delivery(row)


@command.command("digest")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def print_digest(form: str) -> None:
    """Print the weekly digest as of now.

    What is open, what settled unseen, which streams are not judged, and what the budget was spent on.
    """
    from sightline.alerts.digest import digest
    from sightline.alerts.outbox import Outbox
    from sightline.spec.loader import load_monitors

    home = Home.from_env()
    specs, broken = load_monitors(home, freeze=False)
    now = datetime.now(UTC)
    with Outbox(home) as box:
        week = (now - timedelta(days=7)).timestamp()
        dead = [row for row in box.listed(states=["dead"]) if (row["tried_at"] or 0.0) >= week]
    facts = digest(home, specs.values(), dead, now).facts
    if form == "json":
        click.echo(json.dumps({"at": now.isoformat(), **facts}, indent=2))
        return
    click.echo(facts["what"])
    for line in facts["lines"]:
        click.echo(f"- {line}")
    for each in broken:
        click.echo(f"- {each.path.name} cannot be read: see `sightline validate`")


def _require_channels(routes: Routes, wanted: Iterable[str]) -> None:
    known = [*routes.channels, RECORD]
    for name in wanted:
        if name not in known:
            raise SightlineError(f"there is no channel {name!r}", where="alerts/routes.yaml", fix=nearest(name, known))


def _pause(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SightlineError(str(error), where="--every") from None


def _print_sent(done: Any) -> None:
    named = {"sent": done.sent, "to be tried again": done.failed - done.dead, "held": done.held, "given up": done.dead}
    told = ", ".join(f"{n} {words}" for words, n in named.items() if n > 0)
    click.echo(told or "nothing is due")
    for channel, error in done.errors.items():
        click.echo(f"  {channel}: {error}")


def _print_delivery(row: Mapping[str, Any]) -> None:
    subject = " ".join(filter(None, [row["monitor"], row["incident"]]))
    click.echo(f"\n{row['state']:<8} {row['channel']:<12} {_clock(row['added_at'])}  {row['kind']}  {subject}")
    what = str(row["what"]).replace("\n", " ")
    click.echo(f"  {what[:SHOWN_CHARS]}{'…' if len(what) > SHOWN_CHARS else ''}")
    for line in _more(row):
        click.echo(f"  {line}")


def _more(row: Mapping[str, Any]) -> Sequence[str]:
    found: list[str] = []
    if row["state"] == "held":
        found.append(f"held for {row['held_for']}, until {_clock(row['due_at'])}")
    if row["error"]:
        next_try = f"; tried again at {_clock(row['due_at'])}" if row["state"] == "failed" else ""
        found.append(f"tried {row['attempts']} times: {row['error']}{next_try}")
    if row["sent_at"]:
        found.append(f"told {_clock(row['sent_at'])}, message {row['message']}")
    return found


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()

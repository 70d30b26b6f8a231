"""Delivering what is due: feed the outbox, decide who is told, hold what must wait, send the rest, one by one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sightline.alerts import routing
from sightline.alerts.changes import Change, operational
from sightline.alerts.delivery.reaching import is_file, reach, takes_all
from sightline.alerts.digest import due_digest
from sightline.alerts.guard_feed import feed_guards, has_news
from sightline.alerts.incident_changes import of_monitor
from sightline.alerts.outbox import Message, Outbox
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.spec.loader import load_monitor, monitor_files
from sightline.spec.model import MonitorSpec
from sightline.spec.routes import RECORD, Routes, load_routes

logger = logging.getLogger(__name__)

IN_PASSING_SECONDS = 4.0
"""A run waits for deliveries no longer than this; what is left is sent by the next one who looks."""
GIVE_UP_SECONDS = 3 * 86400.0
"""For the record, and for channels that are not in the file any more."""


@dataclass
class Sent:
    """What a pass did, in deliveries.

    Attributes
    ----------
    sent, failed, held, dead : int
        Told, to be tried again, waiting for the end of quiet hours or a downtime, given up.
    errors : dict
        Channel -> why it failed last.
    """

    sent: int = 0
    failed: int = 0
    held: int = 0
    dead: int = 0
    errors: dict[str, str] = field(default_factory=dict[str, str])


class Specs:
    """The monitors of a home, read when they are asked for: most passes find nothing to do.

    Parameters
    ----------
    home : Home
    """

    def __init__(self, home: Home) -> None:
        self._files = {file.stem: file for file in monitor_files(home)}
        self._home = home
        self._known: dict[str, MonitorSpec | None] = {}

    @property
    def ids(self) -> list[str]:
        """Names of all monitors that have a file."""
        return list(self._files)

    def find(self, monitor: str) -> MonitorSpec | None:
        """A monitor; None where it has no file, or one with mistakes: what concerns it is told all the same."""
        if monitor not in self._known:
            self._known[monitor] = self._read(monitor)
        return self._known[monitor]

    def all(self) -> list[MonitorSpec]:
        """All monitors whose files are good."""
        return [spec for name in self._files if (spec := self.find(name)) is not None]

    def _read(self, monitor: str) -> MonitorSpec | None:
        if monitor not in self._files:
            return None
        try:
            return load_monitor(self._files[monitor], home=self._home)
        except SightlineError as error:
            logger.warning("alerts of %s go without its owner and `alerts.notify`: %s", monitor, error)
            return None


def deliver(home: Home, *, seconds: float | None = None, clock: Callable[[], float] = time.time) -> Sent:
    """Deliver what is due.

    Any number of processes may do so at once: a message is sent by one of them.

    Parameters
    ----------
    home : Home
    seconds : float, optional
        Begin nothing after so long; default: go on until nothing is due.
    clock : callable
        Seconds since 1970.

    Returns
    -------
    Sent

    Raises
    ------
    SightlineError
        `alerts/routes.yaml` has mistakes (nothing is lost: it waits until they are mended), or the outbox cannot be
        used.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    routes = load_routes(home)
    done = Sent()
    with Outbox(home) as outbox, outbox.sender() as owner:
        specs = Specs(home)
        _feed(home, outbox, specs, routes, clock())
        _route(outbox, specs, routes, clock())
        done.held = _hold(outbox, routes, clock())
        for channel in outbox.channels_due():
            while deadline is None or time.monotonic() < deadline:
                message = outbox.claim(channel, owner, clock(), takes_all=takes_all(routes, channel))
                if message is None:
                    break
                if _must_wait(outbox, routes, message, clock()):
                    done.held += len(message.changes)
                    continue
                _send(home, outbox, routes, message, clock, done)
        outbox.forget(clock())
    return done


def _feed(home: Home, outbox: Outbox, specs: Specs, routes: Routes, now: float) -> None:
    """What is read from elsewhere: lines of the row guards, and the digest when its hour has come."""
    moment = datetime.fromtimestamp(now, UTC)
    for monitor in specs.ids:
        if has_news(home, outbox, monitor):
            spec = specs.find(monitor)
            feed_guards(home, outbox, monitor, None if spec is None else spec.model.owner, moment)
    digest = due_digest(home, outbox, specs.all, routes, moment)
    if digest is not None:
        outbox.add([digest])


def _route(outbox: Outbox, specs: Specs, routes: Routes, now: float) -> None:
    """Decide who is told of what came in."""
    wanted: list[tuple[Change, Sequence[str]]] = []
    for change in outbox.unrouted():
        spec = specs.find(change.monitor)
        wanted.append((change, routing.channels_of(change, routes, () if spec is None else spec.alerts.notify)))
    if wanted:
        outbox.route(wanted, now)


def _hold(outbox: Outbox, routes: Routes, now: float) -> int:
    """Hold what must wait, and let go what need not any more; how many wait."""
    moment, n = datetime.fromtimestamp(now, UTC), 0
    plan: list[tuple[int, float | None, str]] = []
    for seq, channel, state, change in outbox.due(now):
        held = None if is_file(routes, channel) else routing.hold(change, routes, moment)
        if held is not None:
            n += 1
            plan.append((seq, held.until.timestamp(), held.reason))
        elif state == "held":
            plan.append((seq, None, ""))
    if plan:
        outbox.hold(plan)
    return n


def _must_wait(outbox: Outbox, routes: Routes, message: Message, now: float) -> bool:
    """Whether all of a message has to wait by now (it was tried before, or came in since)."""
    if is_file(routes, message.channel):
        return False
    moment = datetime.fromtimestamp(now, UTC)
    holds = [routing.hold(change, routes, moment) for change in message.changes]
    known = [held for held in holds if held is not None]
    if len(known) < len(holds):
        return False
    first = min(known, key=lambda held: held.until)
    outbox.postpone(message, first.until.timestamp(), first.reason)
    return True


def _send(home: Home, outbox: Outbox, routes: Routes, message: Message, clock: Callable[[], float], done: Sent) -> None:
    """Try one message, and note what came of it.

    It has all the time of its channel, however little the caller has: a mail that is cut off may have been sent.
    """
    outcome = reach(home, routes, message)
    n = len(message.changes)
    if not outcome.error:
        outbox.sent(message, clock())
        done.sent += n
        return
    logger.warning("the channel %s did not take a message: %s", message.channel, outcome.error)
    done.failed += n
    done.errors[message.channel] = outcome.error
    channel = routes.channels.get(message.channel)
    dead = outbox.failed(
        message,
        outcome.error,
        clock(),
        give_up_seconds=GIVE_UP_SECONDS if channel is None else channel.give_up_after.total_seconds(),
        retry_after=outcome.retry_after,
        is_channel_down=outcome.is_channel_down,
    )
    if dead:
        done.dead += dead
        _tell_others(outbox, routes, message, outcome.error, dead, clock())


def _tell_others(outbox: Outbox, routes: Routes, message: Message, error: str, dead: int, now: float) -> None:
    """What a channel did not take is told by the others, once a day."""
    if all(change.kind == "delivery_failed" for change in message.changes):
        return
    others = [name for name in routes.channels if name != message.channel] or [RECORD]
    moment = datetime.fromtimestamp(now, UTC)
    what = f"the channel {message.channel} took no messages, and {dead} were given up: {error}"
    facts = {"todo": ["sightline alerts outbox --state dead", f"sightline alerts test --to {message.channel}"]}
    change = operational(
        "delivery_failed",
        monitor="",
        subject=message.channel,
        at=moment,
        what=what,
        says=f"{moment:%Y-%m-%d}",
        to=others,
        facts=facts,
    )
    outbox.add([change])


def deliver_in_passing(home: Home, before: Callable[[Outbox], object] | None = None) -> str:
    """Deliver what is due in bounded time, for a run or a sensor that has something else to do.

    Nothing that goes wrong makes the caller fail, or holds it up for more than `IN_PASSING_SECONDS` and two; what is
    not delivered waits in the outbox.

    Parameters
    ----------
    home : Home
    before : callable, optional
        Called with the outbox first.

    Returns
    -------
    str
        What went wrong, in words; empty if nothing did.
    """
    found: list[str] = []

    def work() -> None:
        try:
            if before is not None:
                with Outbox(home) as outbox:
                    before(outbox)
            done = deliver(home, seconds=IN_PASSING_SECONDS)
        except SightlineError as error:
            found.append(f"alerts were not delivered, they wait in the outbox: {error}")
        else:
            found.extend(f"the channel {name} did not take a message: {why}" for name, why in done.errors.items())

    worker = threading.Thread(target=work, name="alerts", daemon=True)
    worker.start()
    worker.join(IN_PASSING_SECONDS + 2.0)
    if worker.is_alive():
        return "alerts are not delivered yet: a channel does not answer; they wait in the outbox"
    return "\n".join(found)


def tell(home: Home, spec: MonitorSpec, paths: MonitorPaths) -> str:
    """Put what is new of a monitor's incidents into the outbox, and deliver what is due in passing.

    Parameters
    ----------
    home : Home
    spec : MonitorSpec
    paths : MonitorPaths
        Of the same monitor, whose decisions have just been published.

    Returns
    -------
    str
        As of `deliver_in_passing`.
    """
    return deliver_in_passing(home, lambda outbox: outbox.add(of_monitor(spec, paths)))

"""Every kind of channel, one entry each: how a message is brought to it."""

from __future__ import annotations

from collections.abc import Callable

from sightline.alerts.delivery import posting, through_apprise, to_file
from sightline.alerts.delivery.outcome import Outcome
from sightline.alerts.delivery.secrets import resolve
from sightline.alerts.messages.rendering import Rendered, render
from sightline.alerts.outbox import Message
from sightline.alerts.outbox_file import as_line
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.routes import RECORD, Channel, Routes

Reach = Callable[[Home, Routes, Channel, Message, float], Outcome]


def reach(home: Home, routes: Routes, message: Message) -> Outcome:
    """Bring a message to its channel, within the channel's `timeout`.

    Parameters
    ----------
    home : Home
    routes : Routes
    message : Message

    Returns
    -------
    Outcome
        A channel that is not in the file any more, or whose secret is missing, is down.
    """
    if message.channel == RECORD:
        return _to_record(home, message)
    channel = routes.channels.get(message.channel)
    if channel is None:
        return Outcome("alerts/routes.yaml names no such channel any more")
    try:
        return KINDS[channel.kind](home, routes, channel, message, channel.timeout.total_seconds())
    except SightlineError as error:
        return Outcome(f"{error.what} ({error.where})")


def takes_all(routes: Routes, name: str) -> bool:
    """Whether a channel takes any number of changes at once without a summary: a file does."""
    return is_file(routes, name)


def is_file(routes: Routes, name: str) -> bool:
    """Whether a channel is a file: it disturbs nobody, so nothing is held for it."""
    return name == RECORD or (name in routes.channels and routes.channels[name].kind == "file")


def _post(home: Home, routes: Routes, channel: Channel, message: Message, timeout: float) -> Outcome:
    def secret(key: str, reference: str) -> str:
        return resolve(home, message.channel, key, reference)

    assert channel.url is not None  # the loader refuses a webhook without one
    target = posting.Target(
        secret("url", channel.url),
        None if channel.secret is None else secret("secret", channel.secret),
        {name: secret(f"headers.{name}", reference) for name, reference in channel.headers.items()},
        allow_private=channel.allow_private,
    )
    found = render(home, message, channel.template or "json", routes.links)
    return posting.post(target, found.body.encode(), found.content_type, message.id, timeout=timeout)


def _notify(home: Home, routes: Routes, channel: Channel, message: Message, timeout: float) -> Outcome:
    assert channel.url is not None  # the loader refuses one without
    url = resolve(home, message.channel, "url", channel.url)
    form = channel.template or "plain"
    found: Rendered = render(home, message, form, routes.links)
    return through_apprise.notify(url, found.title, found.body, is_markdown=form == "markdown", timeout=timeout)


def _append(home: Home, routes: Routes, channel: Channel, message: Message, timeout: float) -> Outcome:
    assert channel.path is not None  # the loader refuses a file without one
    lines = [as_line(change) for change in message.changes]
    return to_file.append(home.root / channel.path, lines, is_repeat=message.attempts > 1)


def _to_record(home: Home, message: Message) -> Outcome:
    """Each change to the file of its monitor; what concerns none, to that of all."""
    for monitor in dict.fromkeys(change.monitor for change in message.changes):
        lines = [as_line(change) for change in message.changes if change.monitor == monitor]
        folder = home.monitor(monitor).results if monitor else home.data / "alerts"
        outcome = to_file.append(folder / "alerts.ndjson", lines, is_repeat=message.attempts > 1)
        if outcome.error:
            return outcome
    return Outcome()


KINDS: dict[str, Reach] = {"webhook": _post, "apprise": _notify, "file": _append}

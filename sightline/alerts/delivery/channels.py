"""Every channel, one entry each; add one here: what an address begins with, and what sends lines there.

The collector's row guards send their alert lines this way (`sightline collector --webhook`); incidents
are not sent yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sightline.alerts.delivery.webhook import Webhook
from sightline.errors import SightlineError


class Channel(Protocol):
    """Where lines go; `send` neither waits nor raises: a line that cannot be delivered is counted and logged."""

    delivered: int
    failed: int

    def send(self, line: bytes) -> None:
        """Queue one line of JSON."""
        ...


CHANNELS: dict[str, Callable[[str], Channel]] = {"http": Webhook, "https": Webhook}


def open_channel(address: str) -> Channel:
    """The channel of an address such as ``https://chat.example.org/hook``; a `SightlineError` for an unknown kind."""
    scheme = address.partition(":")[0].lower()
    if scheme not in CHANNELS:
        fix = f"give an address that begins with {' or '.join(f'{name}://' for name in CHANNELS)}"
        raise SightlineError("there is no channel for this address", where=address, fix=fix)
    return CHANNELS[scheme](address)

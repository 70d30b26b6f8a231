"""Which events were logged a moment ago: bounded, and only for exact repeats. The lake removes all others."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.log.events import InferenceEvent, LabelEvent


class RecentIds:
    """The last events of one kind: id -> hash of the content logged last.

    An event is a duplicate if the latest event with its id has the same content, so that a label that goes from A to B and back to A
    is three labels. Only events known to be on disk are remembered. Two generations bound the memory.

    Parameters
    ----------
    size : int
        At least so many events are remembered (up to twice as many).
    """

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}

    def fresh(self, events: Sequence[InferenceEvent | LabelEvent], encoded: Sequence[bytes]) -> list[int] | None:
        """Positions of the events that are no exact repeats, or None if that is all of them.

        Parameters
        ----------
        events : sequence
            Events of this kind.
        encoded : sequence of bytes
            The same ones encoded, without time of receipt.
        """
        here: dict[str, int] = {}
        young, old = self._young, self._old
        found = []
        for position, (event, content) in enumerate(zip(events, encoded, strict=True)):
            key, value = event_key(event), hash(content)
            last = here.get(key)
            if last is None:
                last = young.get(key)
                if last is None:
                    last = old.get(key)
            if last != value:
                found.append(position)
                here[key] = value
        return None if len(found) == len(events) else found

    def remember(self, events: Sequence[InferenceEvent | LabelEvent], encoded: Sequence[bytes]) -> None:
        """Note events that are on disk now."""
        young = self._young
        for event, content in zip(events, encoded, strict=True):
            young[event_key(event)] = hash(content)
        if len(young) >= self._size:
            self._old, self._young = young, {}


def event_key(event: InferenceEvent | LabelEvent) -> str:
    """The id; halves of a call that are logged apart have keys of their own."""
    part = getattr(event, "part", None)
    return event.id if part is None else f"{event.id}\x1f{part}"

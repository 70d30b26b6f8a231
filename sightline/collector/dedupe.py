"""Which events were logged a moment ago: bounded, and only for exact repeats. The lake removes all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sightline.log.events import INFERENCES, InferenceEvent, LabelEvent

Event = InferenceEvent | LabelEvent


class Repeats(NamedTuple):
    """Keys of events that are no exact repeats with hashes of content.

    Beside them the number of these events, and that of the repeats.
    """

    contents: dict[str, int]
    n_new: int
    duplicates: int


class Split(NamedTuple):
    """Events that are no exact repeats, the same ones encoded, and what is to be remembered of them."""

    events: Sequence[Event]
    encoded: Sequence[bytes]
    repeats: Repeats


class RecentIds:
    """The last events of one kind: id -> hash of the content logged last.

    An event is a duplicate if the latest event with its id has the same content, so that a label that goes from A to B
    and back to A is three labels. Only events known to be on disk are remembered. Two generations bound the memory.

    Parameters
    ----------
    size : int
        At least so many events are remembered (up to twice as many).
    """

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}

    def split(self, kind: str, events: Sequence[Event], encoded: Sequence[bytes]) -> Split:
        """Tell events from exact repeats of what is remembered, or of each other.

        Parameters
        ----------
        kind : str
            ``inferences`` or ``labels``.
        events : sequence
            Events of this kind.
        encoded : sequence of bytes
            The same ones encoded, without time of receipt.
        """
        keys = [event.id for event in events]
        inferences: Sequence[Any] = events
        if kind == INFERENCES and any(event.part is not None for event in inferences):
            keys = list(map(event_key, events))
        contents = dict(zip(keys, map(hash, encoded), strict=True))
        young, old = self._young, self._old
        if len(contents) == len(keys) and young.keys().isdisjoint(contents) and old.keys().isdisjoint(contents):
            return Split(events, encoded, Repeats(contents, len(events), 0))
        seen: dict[str, int] = {}
        fresh: list[int] = []
        for position, (key, content) in enumerate(zip(keys, map(hash, encoded), strict=True)):
            last = seen.get(key, young.get(key, old.get(key)))
            if last != content:
                fresh.append(position)
                seen[key] = content
        repeats = Repeats(seen, len(fresh), len(keys) - len(fresh))
        return Split([events[i] for i in fresh], [encoded[i] for i in fresh], repeats)

    def remember(self, repeats: Repeats) -> None:
        """Note events that are on disk now."""
        self._young.update(repeats.contents)
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}


def event_key(event: Event) -> str:
    """The id; halves of a call that are logged apart have keys of their own."""
    part = getattr(event, "part", None)
    return event.id if part is None else f"{event.id}\x1f{part}"

"""A Kafka topic of JSON messages: each offset of each partition once, in batches.

Offsets live in the manifest beside the messages they stand behind. To the consumer group they are committed only when
the lake's ledger lists the batch, so that lag monitors show what is loaded.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from sightline.durable import naming
from sightline.errors import SightlineError
from sightline.lake.fetch import reading
from sightline.lake.fetch.reading import Piece, package, secret
from sightline.narrowing import is_object
from sightline.spec.source_sections import Kafka

ANSWER_SECONDS = 10.0
SILENT_SECONDS = 20.0
"""Messages are there, but none comes for so long: the broker does not answer."""
BATCH_BYTES = 64 << 20
REJECTS = 500
"""Messages that are no JSON object, in a file of their own so that they refuse no others; so many in each."""

_committed: dict[tuple[str, str], Mapping[str, int]] = {}


@dataclass
class _Held:
    """Messages of a batch that is not written yet."""

    lines: list[bytes] = field(default_factory=list[bytes])
    rejects: list[bytes] = field(default_factory=list[bytes])
    counts: Counter[str] = field(default_factory=Counter[str])
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.lines) + len(self.rejects) >= reading.BATCH_ROWS or self.size >= BATCH_BYTES


class KafkaReader:
    """Reads a topic on from its offsets; see `sightline.lake.fetch.reading.Reader`."""

    def __init__(self, given: Kafka, monitor: str, where: str) -> None:
        self.given, self.where = given, where
        self.module = package("confluent_kafka", "kafka", where)
        hidden = {name: secret(variable, where=where) for name, variable in given.properties_env.items()}
        self.secrets: Collection[str] = tuple(hidden.values())
        self.place = f"kafka://{given.brokers}/{given.topic}"
        self.group = given.group or f"sightline-{monitor}"
        self.errors: list[str] = []
        self.known: Mapping[str, str] = {}
        self.present: Collection[str] | None = None
        self.loaded: Sequence[Mapping[str, Any]] = ()
        self.settings: dict[str, Any] = {
            "client.id": "sightline",
            "log_level": 0,
            **given.properties,
            **hidden,
            "bootstrap.servers": given.brokers,
            "group.id": self.group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
            "error_cb": self._failed,
        }

    def columns(self) -> dict[str, str]:
        """Fields of the newest message, and their types."""
        with self._consumer() as consumer:
            for number in self._partitions(consumer):
                low, high = self._bounds(consumer, number)
                if high <= low:
                    continue
                consumer.assign([self.module.TopicPartition(self.given.topic, number, high - 1)])
                for message in consumer.consume(1, timeout=ANSWER_SECONDS):
                    if message.error() is None and (line := self._line(message)) is not None:
                        return {name: type(value).__name__ for name, value in json.loads(line).items()}
        return {}

    def read(self, state: Mapping[str, Any]) -> Generator[Piece]:
        """Messages behind the offsets, up to those that were there when the look began."""
        with self._consumer() as consumer:
            self._commit_loaded(consumer)
            counts = Counter[str]()
            start: dict[int, int] = {}
            ends: dict[int, int] = {}
            for number in self._partitions(consumer):
                start[number], ends[number] = self._begin(consumer, number, state, counts)
            n_expired = counts["messages_expired_unread"]
            yield from self._messages(consumer, start, ends, counts, state)
        if n_expired:
            fix = "lengthen the topic's retention, or see why Sightline did not run; the others were read"
            what = f"{n_expired:,} messages were removed by the topic's retention before they were read"
            raise SightlineError(what, where=f"{self.where} ({self.place})", fix=fix)

    def _begin(self, consumer: Any, number: int, state: Mapping[str, Any], counts: Counter[str]) -> tuple[int, int]:
        """Offsets of a partition at which to begin and to end."""
        low, high = self._bounds(consumer, number)
        known: int | None = state.get("offsets", {}).get(str(number))
        if known is None:  # a partition that came later is read from its start, whatever `start` says
            is_first = not state and self.given.start == "latest"
            return (high if is_first else low), high
        if known > high:
            monitor, _, rest = self.where.partition(": sources.")
            fix = f"sightline sources {monitor} --restart {rest.partition('.')[0]}: it is read from its start"
            what = f"the topic was replaced: offset {known} of partition {number} was read, and it ends at {high}"
            raise SightlineError(what, where=f"{self.where} ({self.place})", fix=fix)
        if known < low:
            counts["messages_expired_unread"] += low - known
        return max(known, low), high

    def _messages(
        self,
        consumer: Any,
        start: Mapping[int, int],
        ends: Mapping[int, int],
        counts: Counter[str],
        before: Mapping[str, Any],
    ) -> Generator[Piece]:
        offsets, todo = dict(start), {number for number, end in ends.items() if start[number] < end}
        consumer.assign([self.module.TopicPartition(self.given.topic, number, start[number]) for number in todo])
        held = _Held(counts=counts)
        heard_at = time.monotonic()
        while todo:
            messages = consumer.consume(min(10_000, reading.BATCH_ROWS), timeout=1.0)
            for message in messages:
                number, offset = message.partition(), message.offset()
                if self._is_end(message):
                    todo.discard(number)
                elif number in todo and offset >= offsets[number]:
                    offsets[number] = offset + 1
                    if offset + 1 >= ends[number]:
                        todo.discard(number)
                    self._take(message, held)
                    if held.is_full:
                        yield from self._pieces(held, _state(offsets))
                        held = _Held()
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENT_SECONDS:
                raise self._told(self.errors[-1] if self.errors else "messages are there, but the broker sends none")
        if held.lines or held.rejects or held.counts or _state(offsets) != before:
            yield from self._pieces(held, _state(offsets))

    def _is_end(self, message: Any) -> bool:
        error = message.error()
        if error is not None and error.code() != self.module.KafkaError._PARTITION_EOF:
            raise self._told(str(error))
        return error is not None

    def _take(self, message: Any, held: _Held) -> None:
        if message.value() is None:
            held.counts["tombstones"] += 1
            return
        line = self._line(message)
        held.size += len(message.value())
        if line is None:
            held.rejects.append(_as_text(message.value()))
        else:
            held.lines.append(line)

    def _pieces(self, held: _Held, state: Mapping[str, Any]) -> Generator[Piece]:
        """What is held as files; the cursor stands behind the last of them."""
        for first in range(0, len(held.rejects), REJECTS):
            yield self._piece(held.rejects[first : first + REJECTS], None, Counter())
        if held.lines:
            yield self._piece(held.lines, state, held.counts)
        else:
            yield Piece(state, counts=held.counts)

    def _piece(self, lines: Sequence[bytes], state: Mapping[str, Any] | None, counts: Counter[str]) -> Piece:
        text = b"\n".join(lines) + b"\n"

        def write(file: Path) -> None:
            with naming(file):
                file.write_bytes(text)

        note = dict(state) if state is not None else {}
        return Piece(state, self.place, "ndjson", ".ndjson", write, len(lines), counts=dict(counts), note=note)

    def _line(self, message: Any) -> bytes | None:
        """A message as a line of its own, with its key where that is a column; None if it is no JSON object."""
        value: bytes = message.value().strip()
        if not value.startswith(b"{"):
            return None
        value = value.replace(b"\r", b" ").replace(b"\n", b" ")
        try:
            found: object = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                found = json.loads(value)  # knows NaN
            except (ValueError, RecursionError):
                return None
        if not is_object(found):
            return None
        name, key = self.given.key, message.key()
        if name is None or key is None or name in found:
            return value
        text = key if isinstance(key, str) else key.decode(errors="replace")
        inner = value[1:].lstrip()
        comma = b"" if inner.startswith(b"}") else b","
        return b"{" + msgspec.json.encode(name) + b":" + msgspec.json.encode(text) + comma + inner

    def _partitions(self, consumer: Any) -> list[int]:
        try:
            topic = consumer.list_topics(self.given.topic, timeout=ANSWER_SECONDS).topics[self.given.topic]
        except self.module.KafkaException as error:
            raise self._told(str(error)) from error
        if topic.error is not None:
            raise self._told(str(topic.error))
        return sorted(topic.partitions)

    def _bounds(self, consumer: Any, number: int) -> tuple[int, int]:
        try:
            place = self.module.TopicPartition(self.given.topic, number)
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
        except self.module.KafkaException as error:
            raise self._told(str(error)) from error
        return low, high

    def _told(self, text: str) -> SightlineError:
        known = " ".join([text, *self.errors[-3:]])
        by_word = {
            "UNKNOWN_TOPIC": "correct `topic`, or create it",
            "uthentication": "correct `sasl.username`, or the password in the environment variable of `sasl.password`",
            "AUTHORIZATION": "allow its user to read and describe the topic, and to read the group",
            "SSL": "correct `security.protocol` and the certificates in `properties`",
            "resolve": "correct `brokers`",
        }
        up = "see whether the brokers are up and reachable, also under the names they advertise"
        fix = next((fix for word, fix in by_word.items() if word in known), up)
        shown = " ".join(dict.fromkeys([text, *self.errors[-2:]]))
        return SightlineError(shown[:400], where=f"{self.where} ({self.place})", fix=fix)

    def _failed(self, error: object) -> None:
        self.errors.append(str(error))

    @contextmanager
    def _consumer(self) -> Generator[Any]:
        try:
            consumer = self.module.Consumer(self.settings)
        except self.module.KafkaException as error:
            fix = "correct `properties`: they are those of librdkafka"
            raise SightlineError(str(error), where=f"{self.where} ({self.place})", fix=fix) from error
        try:
            yield consumer
        finally:
            consumer.close()

    def _commit_loaded(self, consumer: Any) -> None:
        """Commit the offsets behind the last batch that the lake has; lag monitors that fail stop nothing."""
        newest = next((note["offsets"] for note in reversed(self.loaded) if note.get("offsets")), None)
        key = (self.place, self.group)
        if newest is None or _committed.get(key) == newest:
            return
        places = [self.module.TopicPartition(self.given.topic, int(n), offset) for n, offset in newest.items()]
        try:
            consumer.commit(offsets=places, asynchronous=False)
        except self.module.KafkaException:
            return
        _committed[key] = newest


def _state(offsets: Mapping[int, int]) -> dict[str, Any]:
    return {"offsets": {str(number): offset for number, offset in sorted(offsets.items())}}


def _as_text(value: bytes) -> bytes:
    """A message that is no JSON object as a JSON text: intake refuses it as one row, and shows it."""
    return msgspec.json.encode(value.decode(errors="replace"))

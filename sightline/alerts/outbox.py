"""What is to be told, to whom, and how far that has come: durable, shared by all processes, each change once.

SQLite in WAL mode, `data/alerts/outbox.db`. A *change* is known by its id; a *delivery* is a change on its way to one
channel; deliveries that travel together share a *message*, whose id is the idempotency key that the receiver sees. The
message is fixed on disk before it is sent, and a lease keeps others from sending it meanwhile. A sender that dies
leaves its message to the next one under the same key: exactly once at a receiver that honours it, else at least once.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sightline.alerts.changes import HISTORY, Change
from sightline.alerts.outbox_file import OutboxFile, packed, unpacked
from sightline.alerts.schedule import delay
from sightline.durable import exclusive_if_free
from sightline.home import Home

COLLAPSE_FROM = 20
"""More deliveries than these that are due to a channel at once travel as one message."""
MIN_TRIES = 10
"""Nothing is given up before it was tried so often, however long ago the first time was."""
LEASE_SECONDS = 120.0
"""Longer than any channel may take to send a message."""
KEPT_SECONDS = 180 * 86400.0
"""What was told, or given up, is shown for so long; that it was told is known for ever."""


@dataclass(frozen=True)
class Message:
    """Deliveries that travel together, claimed by one sender.

    Attributes
    ----------
    id : str
        Idempotency key.
    channel : str
        Where it goes.
    changes : tuple of Change
        In the order they were queued.
    attempts : int
        How often it was tried, with this time.
    tried_at : float
        When it was first tried (seconds since 1970).
    held_for : str
        Why it was held before, if it was.
    owner : str
        Who holds the lease.
    """

    id: str
    channel: str
    changes: tuple[Change, ...]
    attempts: int
    tried_at: float
    held_for: str
    owner: str


def enqueue(home: Home, changes: Sequence[Change]) -> int:
    """Put changes into the outbox of a home, durably; those that are known already are left out.

    It needs neither the monitors' files nor `alerts/routes.yaml`, and sends nothing: who is told is decided when
    `sightline alerts send`, the asset `alerts`, `sightline backfill` or the collector delivers what is due.

    Parameters
    ----------
    home : Home
    changes : sequence of Change
        As from `sightline.alerts.incident_changes.of_monitor` or `sightline.alerts.changes.operational`.

    Returns
    -------
    int
        How many were new.

    Raises
    ------
    SightlineError
        The outbox cannot be opened or written.
    """
    with Outbox(home) as outbox:
        return outbox.add(changes)


class Outbox(OutboxFile):
    """What may be done with the outbox of a home; use it as a context, in one thread."""

    # ---------------------------------------------------------------- what is known

    def told(self, monitor: str) -> set[str]:
        """Ids that are known of a monitor."""
        return {row[0] for row in self._rows("SELECT id FROM known WHERE monitor = ?", monitor)}

    def knows(self, change_id: str) -> bool:
        """Whether a change is known."""
        with self._told():
            return self._is_known(change_id)

    def add(self, changes: Iterable[Change], cursor: tuple[str, str] | None = None) -> int:
        """Record changes that are not known yet; returns how many. A cursor is moved with them, or not at all."""
        n, now = 0, time.time()
        with self._transaction():
            for change in changes:
                n += self._add(change, now)
            if cursor is not None:
                self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", cursor)
        return n

    def _add(self, change: Change, now: float) -> bool:
        covered = [(key, change.monitor, change.id) for key in change.covers]
        if self._is_known(change.id):
            return False
        is_summary = bool(covered) and change.kind != HISTORY and change.incident is None
        if is_summary and all(self._is_known(key) for key, *_ in covered):
            return False
        self._db.execute("INSERT INTO known VALUES (?, ?, ?)", (change.id, change.monitor, change.id))
        self._db.executemany("INSERT OR IGNORE INTO known VALUES (?, ?, ?)", covered)
        row = (change.id, change.monitor, change.kind, packed(change), now, change.kind == HISTORY)
        self._db.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)", row)
        return True

    def _is_known(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM known WHERE id = ?", (key,)).fetchone() is not None

    def cursor(self, name: str) -> str | None:
        """How far a source was read."""
        found = self._rows("SELECT value FROM cursors WHERE name = ?", name)
        return found[0][0] if found else None

    # ---------------------------------------------------------------- to whom, and when

    def unrouted(self) -> list[Change]:
        """Changes of which it is not decided yet who is told, oldest first."""
        found = self._rows("SELECT content FROM changes WHERE is_routed = 0 ORDER BY rowid")
        return [unpacked(row[0]) for row in found]

    def route(self, wanted: Sequence[tuple[Change, Sequence[str]]], now: float) -> None:
        """Queue changes for their channels."""
        with self._transaction():
            for change, channels in wanted:
                line = f"{change.monitor}/{change.incident}" if change.incident else None
                rows = [(change.id, channel, line, now) for channel in channels]
                self._db.executemany(
                    "INSERT OR IGNORE INTO deliveries (change_id, channel, line, state, due_at)"
                    " VALUES (?, ?, ?, 'queued', ?)",
                    rows,
                )
                self._db.execute("UPDATE changes SET is_routed = 1 WHERE id = ?", (change.id,))

    def due(self, now: float) -> list[tuple[int, str, str, Change]]:
        """Deliveries that are due: ``(seq, channel, state, change)``; none of channels that rest."""
        query = (
            "SELECT seq, channel, state, content FROM deliveries JOIN changes ON change_id = id WHERE message IS NULL"
            " AND state IN ('queued', 'held') AND due_at <= ? AND channel NOT IN (SELECT name FROM channels WHERE"
            " open_at > ?) ORDER BY seq"
        )
        return [(row[0], row[1], row[2], unpacked(row[3])) for row in self._rows(query, now, now)]

    def hold(self, holds: Sequence[tuple[int, float | None, str]]) -> None:
        """Hold deliveries ``(seq, until, reason)``; ``until`` None: they may go."""
        held = [(until, reason, seq) for seq, until, reason in holds if until is not None]
        free = [(seq,) for seq, until, _ in holds if until is None]
        with self._transaction():
            self._db.executemany(
                "UPDATE deliveries SET state = 'held', due_at = ?, held_for = ? WHERE seq = ? AND message IS NULL AND"
                " state IN ('queued', 'held')",
                held,
            )
            self._db.executemany(
                "UPDATE deliveries SET state = 'queued' WHERE seq = ? AND message IS NULL AND state = 'held'", free
            )

    # ---------------------------------------------------------------- sending

    def claim(self, channel: str, owner: str, now: float, *, takes_all: bool = False) -> Message | None:
        """The next message to a channel, leased to `owner`; None if nothing is due or the channel rests.

        Messages about one incident keep their order. What was tried before goes first, under its old key.
        """
        with self._transaction():
            rest = self._db.execute("SELECT 1 FROM channels WHERE name = ? AND open_at > ?", (channel, now)).fetchone()
            if rest is not None:
                return None
            message = self._tried(channel, now) or self._fixed(channel, now, takes_all=takes_all)
            if message is None:
                return None
            self._db.execute(
                "UPDATE deliveries SET state = 'sending', owner = ?, lease_until = ?, attempts = attempts + 1,"
                " tried_at = coalesce(tried_at, ?) WHERE message = ?",
                (owner, now + LEASE_SECONDS, now, message),
            )
            rows = self._db.execute(
                "SELECT content, attempts, tried_at, held_for FROM deliveries JOIN changes ON change_id = id"
                " WHERE message = ? ORDER BY seq",
                (message,),
            ).fetchall()
        first = rows[0]
        held = " ".join(dict.fromkeys(row["held_for"] for row in rows if row["held_for"]))
        changes = tuple(unpacked(row["content"]) for row in rows)
        return Message(message, channel, changes, first["attempts"], first["tried_at"], held, owner)

    def _tried(self, channel: str, now: float) -> str | None:
        """A fixed message that may be sent: it waited long enough, or its sender is gone."""
        rows = self._db.execute(
            "SELECT message, state, due_at, owner, lease_until, min(seq) FROM deliveries WHERE channel = ? AND"
            " state IN ('queued', 'failed', 'sending') AND message IS NOT NULL GROUP BY message ORDER BY 6",
            (channel,),
        ).fetchall()
        for row in rows:
            if row["state"] == "sending":
                is_free = row["lease_until"] <= now or not self._is_alive(row["owner"])
            else:
                is_free = row["due_at"] <= now
            if is_free and not self._waits(channel, row["message"]):
                return row["message"]
        return None

    def _waits(self, channel: str, message: str) -> bool:
        """Whether something earlier about one of its incidents is still on its way."""
        return (
            self._db.execute(
                "SELECT 1 FROM deliveries AS own WHERE own.message = ? AND own.line IS NOT NULL AND EXISTS (SELECT 1"
                " FROM deliveries AS other WHERE other.channel = ? AND other.line = own.line AND other.seq < own.seq"
                " AND other.state IN ('queued', 'failed', 'sending') AND other.message IS NOT own.message) LIMIT 1",
                (message, channel),
            ).fetchone()
            is not None
        )

    def _fixed(self, channel: str, now: float, *, takes_all: bool) -> str | None:
        """A new message of what is due: one delivery, or all of them where there are many or they were held."""
        rows = self._db.execute(
            "SELECT seq, change_id, held_for FROM deliveries AS own WHERE channel = ? AND state = 'queued' AND"
            " message IS NULL AND due_at <= ? AND NOT EXISTS (SELECT 1 FROM deliveries AS other"
            " WHERE other.channel = own.channel AND other.line = own.line AND other.seq < own.seq AND other.state IN"
            " ('queued', 'failed', 'sending') AND other.message IS NOT NULL) ORDER BY seq",
            (channel, now),
        ).fetchall()
        if not rows:
            return None
        held = [row for row in rows if (row["held_for"] or "").startswith("downtime")]
        if takes_all or len(rows) > COLLAPSE_FROM:
            chosen = rows
        elif held:  # what a downtime held is told in one summary
            chosen = [row for row in held if row["held_for"] == held[0]["held_for"]]
        else:
            chosen = rows[:1]
        keys = [channel, *(row["change_id"] for row in chosen)]
        message = hashlib.sha256("\x1f".join(keys).encode()).hexdigest()[:32]
        self._db.executemany(
            "UPDATE deliveries SET message = ? WHERE seq = ?", [(message, row["seq"]) for row in chosen]
        )
        return message

    def postpone(self, message: Message, until: float, reason: str) -> None:
        """Put a claimed message back without trying it; one that was never tried is taken apart again."""
        with self._transaction():
            is_fresh = message.attempts == 1
            self._db.execute(
                "UPDATE deliveries SET state = ?, message = iif(?, NULL, message), tried_at = iif(?, NULL, tried_at),"
                " due_at = ?, held_for = ?, attempts = attempts - 1, owner = NULL, lease_until = NULL WHERE message = ?"
                " AND owner = ? AND state = 'sending'",
                ("held" if is_fresh else "failed", is_fresh, is_fresh, until, reason, message.id, message.owner),
            )

    def sent(self, message: Message, now: float) -> None:
        """A channel took a message: whoever holds the lease by now, it need not be sent again."""
        with self._transaction():
            self._db.execute(
                "UPDATE deliveries SET state = 'sent', sent_at = ?, owner = NULL, lease_until = NULL, error = NULL"
                " WHERE message = ? AND state <> 'sent'",
                (now, message.id),
            )
            self._db.execute("DELETE FROM channels WHERE name = ?", (message.channel,))

    def failed(
        self,
        message: Message,
        error: str,
        now: float,
        *,
        give_up_seconds: float,
        retry_after: float | None = None,
        is_channel_down: bool = True,
    ) -> int:
        """A message could not be sent; returns how many deliveries are given up.

        It is tried again later and later, a channel that is down at all only by one message at a time. Nothing is given
        up before it was tried for `give_up_seconds`, or waited so long for a channel that was down as long.
        """
        with self._transaction():
            mine = (message.id, message.owner)
            query = "SELECT 1 FROM deliveries WHERE message = ? AND owner = ? AND state = 'sending'"
            if self._db.execute(query, mine).fetchone() is None:
                return 0  # another sender has taken it over
            wait = max(delay(message.attempts), retry_after or 0.0)
            is_down_for_good = False
            if is_channel_down:
                wait, since, failures = self._rest(message.channel, now, retry_after)
                is_down_for_good = now - since >= give_up_seconds and failures >= MIN_TRIES
            is_over = now - message.tried_at >= give_up_seconds and message.attempts >= MIN_TRIES
            self._db.execute(
                "UPDATE deliveries SET state = ?, due_at = ?, error = ?, owner = NULL, lease_until = NULL"
                " WHERE message = ? AND owner = ? AND state = 'sending'",
                ("dead" if is_over else "failed", now + wait, error, *mine),
            )
            n_dead = len(message.changes) if is_over else 0
            if is_down_for_good:
                n_dead += self._db.execute(
                    "UPDATE deliveries SET state = 'dead', error = ? WHERE channel = ? AND state = 'queued' AND"
                    " due_at <= ?",
                    (error, message.channel, now - give_up_seconds),
                ).rowcount
        return n_dead

    def _rest(self, channel: str, now: float, retry_after: float | None) -> tuple[float, float, int]:
        """Let a channel rest; returns for how long, since when it has been down, and how often it was tried."""
        row = self._db.execute("SELECT failures, since FROM channels WHERE name = ?", (channel,)).fetchone()
        failures, since = (row["failures"] + 1, row["since"]) if row else (1, now)
        wait = max(delay(failures), retry_after or 0.0)
        self._db.execute("INSERT OR REPLACE INTO channels VALUES (?, ?, ?, ?)", (channel, failures, since, now + wait))
        return wait, since, failures

    def channels_due(self) -> list[str]:
        """Channels with something to send, now or later."""
        query = (
            "SELECT channel FROM deliveries WHERE state IN ('queued', 'failed', 'sending') GROUP BY 1 ORDER BY min(seq)"
        )
        return [row[0] for row in self._rows(query)]

    # ---------------------------------------------------------------- who sends

    @property
    def _senders(self) -> Path:
        return self.file.parent / "senders"

    def forget(self, now: float) -> int:
        """Delete what was added `KEPT_SECONDS` ago and waits for nothing; returns how many changes. Ids stay known."""
        over = self._rows(
            "SELECT id FROM changes WHERE is_routed = 1 AND added_at < ? AND NOT EXISTS (SELECT 1 FROM deliveries"
            " WHERE change_id = changes.id AND state NOT IN ('sent', 'dead'))",
            now - KEPT_SECONDS,
        )
        if over:
            ids = [(row["id"],) for row in over]
            with self._transaction():
                self._db.executemany("DELETE FROM deliveries WHERE change_id = ?", ids)
                self._db.executemany("DELETE FROM changes WHERE id = ?", ids)
        return len(over)

    @contextmanager
    def sender(self) -> Generator[str]:
        """A name for the leases of this process; its lock is freed by the kernel when the process ends."""
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        lock = self._senders / name
        with exclusive_if_free(lock):
            try:
                yield name
            finally:
                lock.unlink(missing_ok=True)

    def _is_alive(self, owner: str | None) -> bool:
        """Whether the holder of a lease still runs; elsewhere than here only the lease's end tells."""
        if owner is None:
            return False
        if not owner.startswith(f"{socket.gethostname()}-"):
            return True
        lock = self._senders / owner
        if not lock.exists():
            return False
        with exclusive_if_free(lock) as is_free:
            if is_free:
                lock.unlink(missing_ok=True)
            return not is_free

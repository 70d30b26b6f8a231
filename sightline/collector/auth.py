"""Bearer tokens: one file per monitor, only hashes in it.

A token is ``slt_<id>_<secret>`` with 256 random bits, so that a plain SHA-256 of it can be
stored: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sightline.durable import replace_file
from sightline.errors import SightlineError
from sightline.home import MonitorPaths

logger = logging.getLogger(__name__)

WRITE, READ, REPLAY, ACT, EVALUATE = "write", "read", "replay", "act", "evaluate"
"""``write``: send events. ``read``: fetch ``/metrics`` and incidents. ``replay``: send events, also logged ones
with their own times of receipt. ``act``: read incidents and say something of them; no events. ``evaluate``: bring
evaluation sets of candidates; nothing else.
"""

_TOKEN = re.compile(r"slt_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


class TokenRecord(msgspec.Struct, frozen=True):
    """What is stored of a token."""

    id: str
    sha256: str
    scope: str
    created_at: datetime
    note: str = ""

    @property
    def who(self) -> str:
        """Whose word it is that this token brings."""
        return self.note or f"token {self.id}"


def tokens_path(paths: MonitorPaths) -> Path:
    """The file with the hashes."""
    return paths.root / "tokens.json"


def read_tokens(paths: MonitorPaths) -> list[TokenRecord]:
    """Stored tokens of a monitor, oldest first.

    Raises
    ------
    SightlineError
        If the file is damaged.
    """
    path = tokens_path(paths)
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[TokenRecord])
    except FileNotFoundError:
        return []
    except msgspec.DecodeError as error:
        raise SightlineError(f"the token file is damaged: {error}", where=str(path), fix="create new tokens") from error


def create_token(paths: MonitorPaths, scope: str = WRITE, note: str = "") -> str:
    """Make a token, store its hash, and return it: it cannot be shown again.

    Raises
    ------
    SightlineError
        It may act, and nobody is named in the note.
    """
    if scope == ACT and not note.strip():
        raise SightlineError(
            "whose word it is that this token brings is not known", fix="name them: --note ann@example.com"
        )
    identifier = secrets.token_hex(6)
    token = f"slt_{identifier}_{secrets.token_urlsafe(32)}"
    record = TokenRecord(identifier, _digest(token), scope, datetime.now(UTC).replace(microsecond=0), note)
    _write(paths, [*read_tokens(paths), record])
    return token


def revoke_token(paths: MonitorPaths, identifier: str) -> None:
    """Remove a token by its id (the part between the underscores).

    Without the last one, nobody may write any more, until there is a new one or `open_monitor` is called.

    Raises
    ------
    SightlineError
        If there is none with this id.
    """
    records = read_tokens(paths)
    kept = [record for record in records if record.id != identifier]
    if len(kept) == len(records):
        known = ", ".join(record.id for record in records) or "none"
        raise SightlineError(
            f"there is no token {identifier!r}", where=str(tokens_path(paths)), fix=f"known ids: {known}"
        )
    _write(paths, kept)


def open_monitor(paths: MonitorPaths) -> None:
    """Let everybody on this machine write again to a monitor whose tokens are all revoked.

    Raises
    ------
    SightlineError
        If it has a token.
    """
    records = read_tokens(paths)
    if records:
        known = ", ".join(record.id for record in records)
        raise SightlineError("the monitor has tokens", where=str(tokens_path(paths)), fix=f"revoke them first: {known}")
    tokens_path(paths).unlink(missing_ok=True)


def _write(paths: MonitorPaths, records: list[TokenRecord]) -> None:
    content = msgspec.json.format(msgspec.json.encode(records), indent=2) + b"\n"
    replace_file(tokens_path(paths), content, mode=0o600)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class TokenFile:
    """Tokens of one monitor as the collector sees them: read again when the file changes."""

    def __init__(self, paths: MonitorPaths) -> None:
        self._paths = paths
        self._signature: tuple[int, int] | None = None
        self._records: dict[str, TokenRecord] = {}
        self.version = 0
        """Grows when the tokens change: what was decided under another version is to be decided again."""
        self.is_closed = False
        """Whether a token is wanted: there is one, or there was one."""
        self.is_damaged = False
        self.reload()

    @property
    def has_tokens(self) -> bool:
        """Whether there is a token, or may be one in a file that cannot be read."""
        return bool(self._records) or self.is_damaged

    def reload(self) -> None:
        """Look at the file again; one that cannot be read keeps the tokens known so far, and the door shut."""
        try:
            stat = tokens_path(self._paths).stat()
            signature = (stat.st_mtime_ns, stat.st_ino)
        except FileNotFoundError:
            signature = (0, 0)
        except OSError as error:
            self._keep(str(error), (-1, error.errno or 0))
            return
        if signature == self._signature:
            return
        try:
            records = read_tokens(self._paths)
        except (SightlineError, OSError) as error:
            self._keep(str(error), signature)
            return
        self._records = {record.id: record for record in records}
        self._signature, self.is_closed, self.is_damaged = signature, signature != (0, 0), False
        self.version += 1

    def _keep(self, error: str, signature: tuple[int, int]) -> None:
        if signature != self._signature:
            logger.error("the tokens stay as they were known: %s", error)
            self._signature, self.is_closed, self.is_damaged = signature, True, True
            self.version += 1

    def scope(self, authorization: str) -> str | None:
        """Scope of the token in an ``Authorization`` header; None if it is not one of this monitor's."""
        record = self.record(authorization)
        return None if record is None else record.scope

    def record(self, authorization: str) -> TokenRecord | None:
        """What is stored of the token in an ``Authorization`` header; None if it is not one of this monitor's."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        match = _TOKEN.fullmatch(token) if scheme.lower() == "bearer" else None
        record = self._records.get(match[1]) if match else None
        if record is None or not hmac.compare_digest(record.sha256, _digest(token)):
            return None
        return record

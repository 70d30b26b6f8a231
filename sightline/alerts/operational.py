"""Operational facts beside the statistical ones: failed runs, hard rules that broke, data that are not fresh.

Each is told by its *cause* (the runs of one flow, one check, one feed), which is failing while some of its windows or
assets are. `results/operations/operations.jsonl` holds what was seen, one line each, never changed; what stands now
and what is to be told follow from it, so that whatever is looked at twice is counted once.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from metrics_py.wording import day
from sightline.durable import replace_file, sync_folder
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.results.append_only import locked

logger = logging.getLogger(__name__)

Kind = Literal["run", "check", "freshness"]
TOLD_AS: dict[str, tuple[str, str]] = {
    "run": ("run_failed", "run_recovered"),
    "check": ("check_failed", "check_recovered"),
    "freshness": ("freshness", "fresh_again"),
}
"""Kind of a cause -> kinds of change (`sightline.alerts.changes`): it begins to fail, and is well again."""
LABELS = "freshness:labels"
"""The cause of labels that do not come, whoever sees it: Dagster's freshness, or `sightline backfill`."""
TOLD_WITHIN = timedelta(days=7)
"""What was seen longer ago is not told any more."""
MAX_ITEMS = 2000
"""Windows of a cause that are kept apart; the rest counts as one."""
OTHERS = "others"
HEARTBEAT = "heartbeat.json"
LATE_SECONDS = 180.0
"""A heartbeat older than this is late; `SIGHTLINE_HEARTBEAT_LATE_SECONDS` changes it."""
PING_SECONDS = 5.0


@dataclass(frozen=True)
class Seen:
    """Something that was seen to fail or to go well.

    Parameters
    ----------
    id : str
        Of the run or event and its cause: seen twice it counts once.
    cause : str
        Such as ``run:delayed``, ``check:inferences:contract``, ``freshness:labels``.
    kind : {'run', 'check', 'freshness'}
    at : datetime
        When (aware).
    is_failing : bool
    items : tuple of str
        Windows or assets that fail, or are well again; empty text: as a whole.
    words : str
        One sentence; of failures only.
    run_id : str
        Empty where there is none.
    assets : tuple of str
        Without the monitor's prefix.
    """

    id: str
    cause: str
    kind: Kind
    at: datetime
    is_failing: bool
    items: tuple[str, ...] = ("",)
    words: str = ""
    run_id: str = ""
    assets: tuple[str, ...] = ()


@dataclass
class Standing:
    """How a cause stands.

    Attributes
    ----------
    cause, kind : str
    failing : set of str
        Its items that fail.
    since, until : datetime or None
        When it began to fail, the latest time; and when it ended.
    n : int
        Failures since then.
    last : dict
        Item -> when something was last seen of it.
    words, run_id : str
        Of the latest failure.
    first_id, last_id : str
        What was seen when it began to fail, and last of all.
    assets : tuple of str
    """

    cause: str
    kind: str
    failing: set[str] = field(default_factory=set[str])
    since: datetime | None = None
    until: datetime | None = None
    n: int = 0
    last: dict[str, datetime] = field(default_factory=dict[str, datetime])
    words: str = ""
    run_id: str = ""
    first_id: str = ""
    last_id: str = ""
    assets: tuple[str, ...] = ()

    def see(self, seen: Seen) -> None:
        """Take in what was seen."""
        was_failing = bool(self.failing)
        if seen.is_failing:
            self.failing |= set(seen.items)
            if len(self.failing) > MAX_ITEMS:
                self.failing = {*sorted(self.failing)[-MAX_ITEMS:], OTHERS}
            if not was_failing:
                self.since, self.until, self.n, self.first_id, self.assets = seen.at, None, 0, seen.id, ()
            self.n += 1
            self.words, self.run_id = seen.words, seen.run_id
            self.assets = tuple(sorted({*self.assets, *seen.assets}))
        else:
            self.failing -= set(seen.items)
            if was_failing and (not self.failing or self.failing == {OTHERS}):
                self.failing, self.until = set(), seen.at
        self.last |= dict.fromkeys(seen.items, seen.at)
        self.last_id = seen.id

    def news_in(self, seen: Seen) -> tuple[str, ...]:
        """Items of what was seen that are not known better, and would change something."""
        newer = [item for item in seen.items if item not in self.last or seen.at >= self.last[item]]
        return tuple(item for item in newer if seen.is_failing or item in self.failing)


def operations_file(paths: MonitorPaths) -> Path:
    """Where a monitor's operational facts are kept."""
    return paths.results / "operations" / "operations.jsonl"


def record(paths: MonitorPaths, seen: Sequence[Seen], now: datetime) -> int:
    """Keep what was seen, durably; what is known, older than what is known, or no news is left out.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    seen : sequence of Seen
        In any order.
    now : datetime
        When it was looked at (aware).

    Returns
    -------
    int
        How many lines were added.
    """
    if not seen:
        return 0
    file = operations_file(paths)
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.parent):
        known = [seen for _, seen in read(paths)]
        ids, states = {entry.id for entry in known}, fold(known)
        added: list[Seen] = []
        for entry in sorted(seen, key=lambda entry: (entry.at, entry.id)):
            state = states.setdefault(entry.cause, Standing(entry.cause, entry.kind))
            items = () if entry.id in ids else state.news_in(entry)
            if not items:
                continue
            ids.add(entry.id)
            told = replace(entry, items=items)
            state.see(told)
            added.append(told)
        if added:
            lines = [{**asdict(entry), "at": entry.at.isoformat(), "seen_at": now.isoformat()} for entry in added]
            _append(file, lines)
    return len(added)


def _append(file: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    with file.open("ab+") as handle:
        is_torn = False
        if handle.seek(0, os.SEEK_END):
            handle.seek(-1, os.SEEK_END)
            is_torn = handle.read(1) != b"\n"
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode(errors="replace")
        handle.write((b"\n" if is_torn else b"") + lines)
        handle.flush()
        os.fsync(handle.fileno())
    sync_folder(file.parent)


def read(paths: MonitorPaths) -> list[tuple[datetime, Seen]]:
    """What was seen, with when it was looked at, oldest first; a line torn by a kill is left out."""
    try:
        lines = operations_file(paths).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [entry for line in lines if line and (entry := _read(line)) is not None]


def _read(line: bytes) -> tuple[datetime, Seen] | None:
    try:
        given: dict[str, Any] = json.loads(line.decode(errors="replace"))
        looked = datetime.fromisoformat(given.pop("seen_at"))
        given["at"] = datetime.fromisoformat(given["at"])
        for name in ("items", "assets"):
            given[name] = tuple(map(str, given[name]))
        return looked, Seen(**given)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def fold(seen: Sequence[Seen]) -> dict[str, Standing]:
    """How each cause stands after what was seen, in that order."""
    states: dict[str, Standing] = {}
    for entry in seen:
        states.setdefault(entry.cause, Standing(entry.cause, entry.kind)).see(entry)
    return states


def standing(paths: MonitorPaths) -> list[dict[str, Any]]:
    """How the causes of a monitor stand, those that fail first, then the latest.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.

    Returns
    -------
    list of dict
        ``cause, kind, is_failing, since, until, n, n_items, words, run_id, assets``; moments are aware (UTC).
    """
    states = sorted(fold([seen for _, seen in read(paths)]).values(), key=lambda s: (not s.failing, -_time(s.since)))
    return [
        {
            "cause": state.cause,
            "kind": state.kind,
            "is_failing": bool(state.failing),
            "since": state.since,
            "until": state.until,
            "n": state.n,
            "n_items": len(state.failing),
            "words": told_words(state),
            "run_id": state.run_id,
            "assets": list(state.assets),
        }
        for state in states
        if state.since is not None
    ]


def told_words(state: Standing) -> str:
    """A cause in one sentence, with since when it fails and how often."""
    since = day(state.since)
    times = f", {state.n} times" if state.n > 1 and state.kind == "run" else ""
    ended = f"; well again since {day(state.until)}" if not state.failing else ""
    return f"{state.words} (since {since}{times}{ended})"


def _time(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


def changes(monitor: str, owner: str | None, paths: MonitorPaths, now: datetime) -> Iterator[Any]:
    """What is to be told: each cause when it begins to fail, and when it is well again.

    What was looked at together is told as it stood afterwards: a run that failed and was repeated at once is no news.

    Parameters
    ----------
    monitor : str
        Its id.
    owner : str or None
        Who answers for it.
    paths : MonitorPaths
        `paths.results`.
    now : datetime
        Aware; what was looked at more than `TOLD_WITHIN` before is not told.

    Yields
    ------
    Change
        For `sightline.alerts.outbox.enqueue`, which leaves out what it knows.
    """
    from sightline.alerts.changes import operational

    states: dict[str, Standing] = {}
    looks: dict[datetime, list[Seen]] = {}
    for looked, seen in read(paths):
        looks.setdefault(looked, []).append(seen)
    for looked, together in looks.items():
        before = {cause: bool(state.failing) for cause, state in states.items()}
        for seen in together:
            states.setdefault(seen.cause, Standing(seen.cause, seen.kind)).see(seen)
        for cause in dict.fromkeys(seen.cause for seen in together):
            state = states[cause]
            if bool(state.failing) == before.get(cause, False) or looked < now - TOLD_WITHIN:
                continue
            kind = TOLD_AS[state.kind][0 if state.failing else 1]
            if state.failing and cause == LABELS:
                kind = "labels_overdue"
            at = state.since if state.failing else state.until
            yield operational(
                kind,
                monitor=monitor,
                subject=cause,
                at=at or looked,
                what=told_words(state),
                says=state.first_id if state.failing else state.last_id,
                assets=state.assets,
                owner=owner,
                facts={"run_id": state.run_id} if state.run_id else None,
            )


# ---------------------------------------------------------------- heartbeat


def beat(home: Home, monitors: Sequence[str], now: datetime) -> None:
    """Write that the daemon is alive to ``data/alerts/heartbeat.json``, atomically.

    Parameters
    ----------
    home : Home
    monitors : sequence of str
        Ids of the monitors that are loaded.
    now : datetime
        Aware.
    """
    content = {"at": now.isoformat(), "pid": os.getpid(), "parent_pid": os.getppid(), "monitors": sorted(monitors)}
    replace_file(home.data / "alerts" / HEARTBEAT, json.dumps(content) + "\n")


def heartbeat_age(home: Home, now: datetime) -> float | None:
    """Seconds since the last heartbeat, 0 at least; None where there never was one, infinite where it is unreadable."""
    try:
        given = json.loads((home.data / "alerts" / HEARTBEAT).read_bytes())
        return max((now - datetime.fromisoformat(given["at"])).total_seconds(), 0.0)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        return float("inf")


def is_late(age: float) -> bool:
    """Whether a heartbeat of this age (seconds) is late."""
    return age > float(os.environ.get("SIGHTLINE_HEARTBEAT_LATE_SECONDS", LATE_SECONDS))


def ping(url: str, seconds: float = PING_SECONDS) -> bool:
    """Tell an outside service that rings when it hears nothing (a dead man's switch) that the daemon is alive.

    Parameters
    ----------
    url : str
        Fetched by GET; redirects are not followed. It is a secret and stands in no text.
    seconds : float
        How long the service may take.

    Returns
    -------
    bool
        Whether it answered with 2xx; a failure is logged, never raised.

    Raises
    ------
    SightlineError
        The address is none of HTTP.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise SightlineError(
            "the heartbeat's address is none of HTTP", where="SIGHTLINE_HEARTBEAT_URL", fix="https://..."
        )
    request = urllib.request.Request(url, headers={"User-Agent": "sightline"})  # noqa: S310 (checked above)
    try:
        with _opener.open(request, timeout=seconds) as answer:
            return 200 <= answer.status < 300
    except (OSError, ValueError) as error:
        why = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        logger.warning("the heartbeat's service did not answer: %s", why)
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)

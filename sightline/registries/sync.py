"""Between a registry and the folder of candidates: fetch what is new, write back what was found.

What was done is kept in ``data/<monitor>/registry.json``. Every step may be repeated: a set lands by one rename, and a
verdict is written again until the registry has taken it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.durable import exclusive, replace_file, sync_folder
from sightline.errors import SightlineError
from sightline.evaluation.landed import candidates, evaluations, failures
from sightline.evaluation.spelling import OUTCOMES
from sightline.home import MonitorPaths
from sightline.registries.protocol import Registered, Registry, VerdictNote
from sightline.spec.model import MonitorSpec
from sightline.version_names import flaw_of

MOST = 20
"""Versions that are looked after: the newest candidates."""
LOOK_AGAIN_SECONDS, GIVE_UP_SECONDS = 3600.0, 7 * 86400.0
"""A version without an evaluation set is looked at again so often, and for so long after it was registered."""
FETCHING = ".registry"
LOCK_SECONDS = 30.0


@dataclass
class State:
    """What was done.

    Attributes
    ----------
    since : float or None
        Versions registered before are no candidates; None before the first look.
    fetched : dict
        Version -> run whose set has landed.
    missing : dict
        Version -> when no set was found.
    told : dict
        Version -> ``evaluated_at`` of the verdict that the registry has.
    """

    since: float | None = None
    fetched: dict[str, str] = field(default_factory=dict[str, str])
    missing: dict[str, float] = field(default_factory=dict[str, float])
    told: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Work:
    """What is to be done: versions to fetch, and verdicts to write."""

    fetch: tuple[Registered, ...]
    write: tuple[tuple[Registered, VerdictNote], ...]

    @property
    def mark(self) -> str:
        """Changes with what is to be done."""
        return json.dumps([[v.version for v in self.fetch], [[v.version, n.evaluated_at] for v, n in self.write]])


def read_state(paths: MonitorPaths) -> State:
    """What was done so far; a damaged file is an error, not a new start."""
    file = paths.root / "registry.json"
    try:
        return State(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return State()
    except (ValueError, TypeError) as error:
        fix = "delete it: the newest version is then the only candidate"
        raise SightlineError(f"it cannot be read: {error}", where=str(file), fix=fix) from error


def look(spec: MonitorSpec, paths: MonitorPaths, versions: Sequence[Registered], now: float) -> Work:
    """What is to be done, given what the registry has; asks nobody.

    Parameters
    ----------
    spec, paths
        The monitor.
    versions : sequence of Registered
        Newest first.
    now : float
        Seconds since 1970.
    """
    state = read_state(paths)
    wanted = _wanted(spec, versions, state)
    landed = {each.version for each in candidates(paths)[0]}
    fetch = tuple(each for each in wanted if each.version not in landed and _is_due(each, state, now))
    return Work(fetch, tuple(_untold(paths, wanted, state)))


def sync(spec: MonitorSpec, paths: MonitorPaths, registry: Registry, now: float | None = None) -> list[str]:
    """Fetch and write back; what was done, in words.

    One version that fails stops no other; the first error is raised at the end.

    Raises
    ------
    SightlineError
    """
    now = time.time() if now is None else now
    told: list[str] = []
    errors: list[SightlineError] = []
    with exclusive(paths.root / ".registry.lock", LOCK_SECONDS):
        versions, state = registry.versions(), read_state(paths)
        if state.since is None:
            state.since = max((each.created_at for each in versions), default=0.0)
            _write(paths, state)
        work = look(spec, paths, versions, now)
        for each in work.fetch:
            try:
                told.append(_fetch(paths, registry, each, state, now))
            except SightlineError as error:
                errors.append(error)
            _write(paths, state)
        missing = [each for each in _wanted(spec, versions, state) if each.version in state.missing]
        notes = [(each, _no_set(spec, each)) for each in missing if state.told.get(each.version) != "no set"]
        for each, note in [*work.write, *notes]:
            try:
                registry.write_verdict(each, note)
            except SightlineError as error:
                errors.append(error)
                continue
            state.told[each.version] = note.evaluated_at or "no set"
            told.append(f"version {each.version}: verdict {OUTCOMES[note.outcome]} written back")
            _write(paths, state)
    if errors:
        raise errors[0]
    return told


def _wanted(spec: MonitorSpec, versions: Sequence[Registered], state: State) -> list[Registered]:
    """Candidates, newest first: those with the alias, else those registered since the first look and the newest."""
    alias = spec.registry.candidate_alias if spec.registry is not None else None
    fit = [each for each in versions if each.is_ready and not flaw_of(each.version)]
    if alias is not None:
        return [each for each in fit if alias in each.aliases or each.version in state.fetched][:MOST]
    since = state.since if state.since is not None else max((each.created_at for each in fit), default=0.0)
    return [each for each in fit if each.created_at >= since][:MOST]


def _is_due(version: Registered, state: State, now: float) -> bool:
    if state.fetched.get(version.version) == (version.run or "-"):
        return False
    last = state.missing.get(version.version)
    return last is None or (now - last >= LOOK_AGAIN_SECONDS and now - version.created_at < GIVE_UP_SECONDS)


def _untold(paths: MonitorPaths, wanted: Sequence[Registered], state: State) -> list[tuple[Registered, VerdictNote]]:
    latest: dict[str, Mapping[str, Any]] = {}
    for each in sorted([*evaluations(paths), *failures(paths)], key=lambda found: found["evaluated_at"]):
        latest[each["version"]] = each
    found: list[tuple[Registered, VerdictNote]] = []
    for version in wanted:
        known = latest.get(version.version)
        if known is not None and state.told.get(version.version) != known["evaluated_at"]:
            note = VerdictNote(
                version.version,
                known["outcome"],
                known["reason"],
                known["evaluated_at"],
                may_promote=bool(known["may_promote"]),
                page=known.get("page", ""),
            )
            found.append((version, note))
    return found


def _no_set(spec: MonitorSpec, version: Registered) -> VerdictNote:
    where = f"artifact folder {spec.registry.artifact!r} of its run" if spec.registry is not None else "registry"
    reason = f"no evaluation set: log one into the {where}, or put it into landing/candidates/{version.version}/"
    return VerdictNote(version.version, "cannot_tell", reason)


def _fetch(paths: MonitorPaths, registry: Registry, version: Registered, state: State, now: float) -> str:
    """Fetch a set into a hidden folder, and rename that: nobody sees half of it."""
    name = version.version
    beside, folder = paths.landing_candidates / FETCHING / name, paths.landing_candidates / name
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        files = registry.evaluation_set(version, beside)
        if not files:
            state.missing[name] = now
            return f"version {name}: no evaluation set"
        _land(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    state.fetched[name] = version.run or "-"
    state.missing.pop(name, None)
    return f"version {name}: {len(files)} file{'s' if len(files) > 1 else ''} landed"


def _land(beside: Path, folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()  # if it is there and empty
    try:
        beside.rename(folder)
    except OSError as error:
        what = f"the evaluation set cannot land: {error.strerror}"
        raise SightlineError(what, where=str(folder), fix="somebody has put files there: remove them") from error
    sync_folder(folder.parent)


def _write(paths: MonitorPaths, state: State) -> None:
    replace_file(paths.root / "registry.json", json.dumps(state.__dict__, indent=1, sort_keys=True))

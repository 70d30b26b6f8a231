"""Candidates that have landed: ``landing/candidates/<version>/`` holds the scored evaluation set of a version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sightline.durable import replace_file
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.lake.intake.sources import UNFINISHED
from sightline.results.append_only import STAMP, safe_name
from sightline.version_names import TRAINING, flaw_of


@dataclass(frozen=True)
class Landed:
    """A version with a scored evaluation set.

    Attributes
    ----------
    version : str
        Name of the folder.
    path : Path
        Its file, or the folder where it holds several.
    mark : str
        Changes with the names, sizes and times of the files.
    training : Path or None
        What it was trained on: a file called ``training``, or a folder of that name.
    """

    version: str
    path: Path
    mark: str
    training: Path | None = None


def candidates(paths: MonitorPaths) -> tuple[list[Landed], dict[str, str]]:
    """Versions that have landed, by name, and what cannot be one: folder or file -> why.

    Hidden files and unfinished ones (``.tmp``, ``.part``) do not count; a folder without others is not there yet.
    """
    found: list[Landed] = []
    refused: dict[str, str] = {}
    if not paths.landing_candidates.is_dir():
        return found, refused
    for folder in sorted(paths.landing_candidates.iterdir()):
        if folder.name.startswith(".") or folder.name.endswith(UNFINISHED):
            continue
        if folder.is_symlink() or not folder.is_dir():
            refused[folder.name] = "a candidate is a folder named after its version, with its file inside"
        elif flaw := flaw_of(folder.name):
            refused[folder.name] = f"this cannot name a version: {flaw}"
        elif isinstance(landed := _landed(folder), str):
            refused[folder.name] = landed
        elif landed is not None:
            found.append(landed)
    return found, refused


def candidate(paths: MonitorPaths, version: str) -> Landed:
    """One version that has landed; a `SightlineError` names those that have."""
    found, _ = candidates(paths)
    for each in found:
        if each.version == version:
            return each
    names = ", ".join(each.version for each in found) or "none"
    where = str(paths.landing_candidates)
    raise SightlineError(f"no file of the version {version!r} has landed", where=where, fix=f"there are: {names}")


def _landed(folder: Path) -> Landed | str | None:
    """What a folder holds; a text says why it cannot be read, None that nothing is there yet."""
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink() and file.name[0] not in "._" and not file.name.endswith(UNFINISHED)
    )
    if not files:
        return None
    told = [(file.relative_to(folder).as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    mark = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    trained = [file for file in files if _is_training(folder, file)]
    scored = [file for file in files if file not in trained]
    if not scored:
        return None
    if not trained:
        return Landed(folder.name, files[0] if len(files) == 1 else folder, mark)
    tops = {file.relative_to(folder).parts[0] for file in scored}
    if len(scored) > 1 and (len(tops) > 1 or (folder / next(iter(tops))).is_file()):
        return f"several files lie beside {TRAINING!r}: put those of the evaluation set into a folder `evaluation`"
    path = scored[0] if len(scored) == 1 else folder / tops.pop()
    known = {file.relative_to(folder).parts[0] for file in trained}
    if len(known) > 1:
        return f"there are several training sets: {', '.join(sorted(known))}"
    return Landed(folder.name, path, mark, folder / known.pop())


def _is_training(folder: Path, file: Path) -> bool:
    parts = file.relative_to(folder).parts
    return parts[0] == TRAINING or (len(parts) == 1 and parts[0].partition(".")[0] == TRAINING)


def publish(paths: MonitorPaths, version: str, text: str, now: datetime) -> Path:
    """Keep an evaluation (`sightline.evaluation.render.to_json`); earlier ones of the version stay."""
    file = paths.results / "evaluations" / f"{now.strftime(STAMP)}-{safe_name(version)}.json"
    replace_file(file, text)
    return file


def publish_failure(paths: MonitorPaths, version: str, error: SightlineError, now: datetime) -> Path:
    """Keep that a version could not be evaluated, and why."""
    file = paths.results / "evaluations" / "failed" / f"{now.strftime(STAMP)}-{safe_name(version)}.json"
    told = {"version": version, "outcome": "cannot_tell", "may_promote": False, "reason": str(error)}
    replace_file(file, json.dumps(told, indent=1, ensure_ascii=False))
    return file


def failures(paths: MonitorPaths) -> list[Mapping[str, Any]]:
    """Versions that could not be evaluated, oldest first: ``version, outcome, may_promote, reason, evaluated_at``."""
    return _kept(paths, paths.results / "evaluations" / "failed")


def evaluations(paths: MonitorPaths) -> list[Mapping[str, Any]]:
    """All that were kept, oldest first, each with ``evaluated_at`` (ISO 8601, UTC) and ``page`` (below the home)."""
    return _kept(paths, paths.results / "evaluations")


def kept_files(paths: MonitorPaths) -> list[Path]:
    """Files of all evaluations that were kept, of those that could not be made, too; the newest first."""
    base = paths.results / "evaluations"
    return sorted([*base.glob("*.json"), *base.glob("failed/*.json")], key=lambda file: file.name, reverse=True)


def read_kept(paths: MonitorPaths, file: Path) -> Mapping[str, Any]:
    """One of `kept_files`, with ``evaluated_at`` and, where there is one, ``page``."""
    at = datetime.strptime(file.name.partition("-")[0], STAMP)
    told = {**json.loads(file.read_text(encoding="utf-8")), "evaluated_at": f"{at.isoformat()}Z"}
    page = file.with_suffix(".html")
    return told | ({"page": page.relative_to(paths.home).as_posix()} if page.is_file() else {})


def _kept(paths: MonitorPaths, folder: Path) -> list[Mapping[str, Any]]:
    return [read_kept(paths, file) for file in sorted(folder.glob("*.json"))]

"""What stored data were made with: the parts of a monitor's file that decided how they were read and filed.

The ledger keeps them. A file that says something else later is told, so that no row vanishes from sight unnoticed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.lake.store.ledger import Ledger, open_ledger
from sightline.narrowing import is_object
from sightline.spec.columns import Columns
from sightline.spec.llm import definition
from sightline.spec.model import MonitorSpec

UNFINISHED = "migration"
"""Fact that stands in the ledger while a migration has not ended."""
ADDABLE = ("features", "class_scores", "segments")
"""Columns that may be added at any time: what was logged of them is read again. Those left out stay where they are."""
OF_LABELS = ("labels", "observed_at", "positive", "negative", "classes", "silence")
"""Facts that a monitor without labels does not have."""
ARRIVAL = "(arrival)"
"""Stands for the column of the time the truth was known where there is none."""


@dataclass(frozen=True)
class Change:
    """One thing that the monitor's file now says otherwise.

    Attributes
    ----------
    name : str
        Which fact.
    before, now : object
        Its values.
    is_harmless : bool
        It is applied as it is, with what was added read again.
    """

    name: str
    before: Any
    now: Any
    is_harmless: bool

    def __str__(self) -> str:
        if is_object(self.before) and is_object(self.now):
            parts = [
                f"{self.name}.{key} was {_word(self.before.get(key))}, is {_word(self.now.get(key))}"
                for key in dict.fromkeys([*self.before, *self.now])
                if self.before.get(key) != self.now.get(key)
            ]
            return ", ".join(parts)
        return f"{self.name} was {_word(self.before)}, is {_word(self.now)}"


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def facts_of(spec: MonitorSpec) -> dict[str, Any]:
    """The facts of a monitor's file that stored data depend on, as plain JSON."""
    columns, labels = spec.columns, spec.labels
    is_binary = labels is not None and spec.model.task == "binary_classification"
    has_several = labels is not None and spec.model.task == "multiclass_classification"
    named = ("prediction_id", "timestamp", "model_version", "entity_id", "query_id")
    return {
        "schedule": spec.schedule,
        "start": spec.first_window.isoformat(),
        "task": spec.model.task,
        "columns": {name: getattr(columns, name) for name in named},
        "labels": {"column": labels.column, "prediction_id": labels.prediction_id} if labels else None,
        "observed_at": (labels.observed_at or ARRIVAL) if labels else None,
        "positive": spec.positive_class if is_binary else None,
        "negative": sorted({*spec.class_names.known.values()} - {spec.positive_class}) if is_binary else None,
        "classes": sorted({*spec.class_names.known.values()}) if has_several else None,
        "silence": labels.silence if labels else None,
        "class_scores": dict.fromkeys(columns.class_scores, "numeric"),
        "features": _features(columns),
        "segments": dict.fromkeys(columns.segments, "categorical"),
        "reference": spec.reference.model_dump(mode="json"),
    }


def _features(columns: Columns) -> dict[str, str]:
    """Feature -> kind; of what the user defines, a descriptor or a measure, also how."""
    found: dict[str, str] = {name: feature.kind for name, feature in columns.features.items()}
    for name, (_, entry) in columns.derived.items():
        if entry.is_own:
            found[name] += f" by {entry.model_dump_json(include={'regex', 'words', 'python'}, exclude_none=True)}"
    for name, measure in columns.measured.items():
        defined = definition(columns.llm, measure) if columns.llm is not None else ""
        found[name] += f" by {defined}" if defined else ""
    return found


def keep_facts(spec: MonitorSpec, ledger: Ledger) -> None:
    """Note what the data are stored with from now on; labels that were left out were read as the file said before."""
    before = ledger.facts()
    new = {
        name: value
        for name, value in facts_of(spec).items()
        if name not in before or (before[name] != value and not (value is None and name in OF_LABELS))
    }
    if new:
        ledger.write_facts(new)


def changes(spec: MonitorSpec, paths: MonitorPaths, ledger: Ledger) -> list[Change]:
    """What the file says otherwise than when the data were stored."""
    before, now = _as_kept(ledger.facts()), facts_of(spec)
    found = [
        Change(name, before[name], value, _is_harmless(name, before[name], value, paths))
        for name, value in now.items()
        if name in before and before[name] != value and not (value is None and name in OF_LABELS)
    ]
    if UNFINISHED in before:
        found.append(Change(UNFINISHED, "begun", "not ended", is_harmless=False))
    return found


def _as_kept(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts with those that earlier releases did not keep: they knew no negative silence."""
    return {"silence": "unknown", **facts} if facts.get("labels") else facts


def _is_harmless(name: str, before: Any, now: Any, paths: MonitorPaths) -> bool:
    if name in ADDABLE:
        return all(now.get(key, kind) == kind for key, kind in before.items())
    if name == "reference":
        return not (paths.reference / "profile.json").exists()
    if name in OF_LABELS:
        return before is None or now is None
    return name == "start" and now > before


def require_current(spec: MonitorSpec, paths: MonitorPaths, ledger: Ledger | None = None) -> list[Change]:
    """Refuse to go on with data that were stored under another file of the monitor.

    Parameters
    ----------
    spec, paths
        The monitor.
    ledger : Ledger, optional
        Its open ledger.

    Returns
    -------
    list of Change
        Harmless changes that the next intake applies.

    Raises
    ------
    SightlineError
        What is stored does not fit the file; the text names the command that migrates.
    """
    if ledger is None:
        with open_ledger(paths.ledger, create=False) as opened:
            return require_current(spec, paths, opened)
    found = changes(spec, paths, ledger)
    bad = [change for change in found if not change.is_harmless]
    if bad:
        raise SightlineError(
            f"the data of {spec.id} were stored under another file: {'; '.join(map(str, bad))}",
            where=f"monitors/{spec.id}.yaml",
            fix=f"take the change back, or run `sightline migrate {spec.id}`: it files what is stored anew",
        )
    return found

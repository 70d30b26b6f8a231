"""Looking at a batch of events against the contract of the spec and of the reference, without keeping anything.

Each column has a *check*: value -> name of the rule it breaks, or None. In a batch of more than a few
events the columns are looked at as a whole first, and only values that can break a rule are checked one
by one: the result is the same.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import mul
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import UNSET

from metrics_py.class_names import category_text, class_text
from sightline.collector.findings import Findings
from sightline.collector.formats.features import Features
from sightline.collector.text_guards import text_guards
from sightline.log.events import InferenceEvent
from sightline.spec.columns import Feature
from sightline.spec.model import MonitorSpec

ROWS = "@row"
"""Column name of rules about the row itself."""

UNKNOWN = "unknown_column"
CLOCK_SKEW = timedelta(minutes=5)
COLUMNS_FROM = 12
"""A smaller batch is quicker to check value by value."""

MISSING = UNSET
_NUMBERS = tuple[float, ...]

Check = Callable[[Any], str | None]


@dataclass(frozen=True)
class KnownColumn:
    """What the reference knows of a column: range of numbers or of norms of vectors, values of a categorical one."""

    low: float | None = None
    high: float | None = None
    values: frozenset[str] | None = None


class Screen:
    """Checks batches of one monitor against one reference; holds no state, any thread may use it.

    Parameters
    ----------
    spec : MonitorSpec
        The contract.
    reference : mapping
        Column name -> `KnownColumn`; without it only the spec's own rules apply.
    stale_after : timedelta
        A prediction older than this on arrival is stale.
    """

    def __init__(self, spec: MonitorSpec, reference: Mapping[str, KnownColumn], stale_after: timedelta) -> None:
        features = spec.columns.logged
        self._checks = [(n, f.kind, _column_check(f, reference.get(n, KnownColumn()))) for n, f in features.items()]
        self._names = tuple(features)
        self._known = features.keys() | set(spec.columns.segments)
        self._missing = {n: "missing" if f.nullable else "missing_required" for n, f in features.items()}
        self._ranges = {
            n: _range(f, reference.get(n, KnownColumn())) for n, f in features.items() if f.kind == "numeric"
        }
        self._bounded = {
            n
            for n, f in features.items()
            if f.kind == "embedding" and (f.dimension is not None or reference.get(n, KnownColumn()).low is not None)
        }
        self._text_guards = text_guards(spec)
        self._stale_after = stale_after
        self._score_bounded = spec.model.task == "binary_classification"

    def look(self, events: Sequence[InferenceEvent], received_at: datetime) -> Findings:
        """Everything that a batch breaks; withdrawals say nothing that could."""
        events = [event for event in events if not event.withdrawn]
        found = Findings(len(events))
        rows = self._rows([event.features for event in events if event.part != "response"], found)
        if len(rows) < COLUMNS_FROM:
            for row in rows:
                for (name, _, check), value in zip(self._checks, row, strict=False):
                    rule = check(value)
                    if rule is not None:
                        found.add(name, rule, value)
        else:
            self._look_at_columns(list(zip(*rows, strict=True)), found)
        for name, guard in self._text_guards.items():
            place = self._names.index(name)
            guard.look([row[place] for row in rows], found)
        self._look_at_times([event.at for event in events if event.at is not None], received_at, found)
        if self._score_bounded:
            for score in [e.score for e in events if e.score is not None and not 0.0 <= e.score <= 1.0]:
                found.add("@score", "out_of_contract", score)
        return found

    def _rows(self, features: Sequence[Any], found: Findings) -> list[tuple[Any, ...]]:
        """Values of each event in the order of the columns (values of columns that are no features may follow)."""
        kinds = set(map(type, features))
        if len(kinds) == 1 and self._is_mine(next(iter(kinds))):
            return list(map(msgspec.structs.astuple, features))
        names, known = self._names, self._known
        rows: list[tuple[Any, ...]] = []
        for each in features:
            if self._is_mine(type(each)):  # pyright: ignore[reportUnknownArgumentType] (of any type; a cast costs time)
                rows.append(msgspec.structs.astuple(each)[: len(names)])
                continue
            if not each.keys() <= known:
                for name in each.keys() - known:
                    found.counts[name, UNKNOWN] += 1
            get = each.get
            rows.append(tuple([get(name, MISSING) for name in names]))
        return rows

    def _is_mine(self, kind: type) -> bool:
        return issubclass(kind, Features) and kind.names[: len(self._names)] == self._names

    def _look_at_times(self, moments: list[datetime], received_at: datetime, found: Findings) -> None:
        oldest, newest = received_at - self._stale_after, received_at + CLOCK_SKEW
        if moments and (min(moments) < oldest or max(moments) > newest):
            found.counts[ROWS, "stale"] += sum(at < oldest for at in moments)
            found.counts[ROWS, "future"] += sum(at > newest for at in moments)
            found.counts = +found.counts

    # ---- whole columns -----------------------------------------------------------------------------------------------

    def _look_at_columns(self, columns: Sequence[tuple[Any, ...]], found: Findings) -> None:
        numeric: list[tuple[str, Check, tuple[Any, ...], tuple[float, ...]]] = []
        for (name, kind, check), column in zip(self._checks, columns, strict=False):
            if kind == "numeric":
                numbers = self._numbers(name, column, found)
                if numbers is not None:
                    numeric.append((name, check, column, numbers))
                    continue
            is_sound = name not in self._bounded and set(map(type, column)) <= _SOUND_TYPES.get(kind, _NOTHING)
            if is_sound or (kind in _FINITE and self._by_distinct_values(name, kind, check, column, found)):
                continue
            for value in column:
                rule = check(value)
                if rule is not None:
                    found.add(name, rule, value)
        if numeric:
            self._compare(numeric, found)

    def _numbers(self, name: str, column: tuple[Any, ...], found: Findings) -> tuple[float, ...] | None:
        """The column as doubles, with a number in the range where a value is missing.

        None if there is anything else in it.
        """
        try:
            return msgspec.convert(column, _NUMBERS)
        except (msgspec.ValidationError, OverflowError):
            pass
        low, high = self._ranges[name]
        filler = low if low > -math.inf else min(high, 0.0)
        filled = [filler if value is None or value is MISSING else value for value in column]
        try:
            numbers = msgspec.convert(filled, _NUMBERS)
        except (msgspec.ValidationError, OverflowError):
            return None
        if low <= filler <= high:
            gaps = sum(value is None or value is MISSING for value in column)
            found.counts[name, self._missing[name]] += gaps
            return numbers
        return None

    def _compare(
        self, numeric: Sequence[tuple[str, Check, tuple[Any, ...], tuple[float, ...]]], found: Findings
    ) -> None:
        """Check the numbers that lie outside their range (or are none)."""
        n = len(numeric[0][3])
        pack = struct.Struct(f"{n}d").pack
        matrix = np.frombuffer(b"".join([pack(*numbers) for _, _, _, numbers in numeric])).reshape(-1, n)
        ranges = np.array([self._ranges[name] for name, _, _, _ in numeric])
        sound = (matrix.min(axis=1) >= ranges[:, 0]) & (matrix.max(axis=1) <= ranges[:, 1])  # false if there is a NaN
        for i in np.flatnonzero(~sound).tolist():
            name, check, column, _ = numeric[i]
            low, high = self._ranges[name]
            outside = ~((matrix[i] >= low) & (matrix[i] <= high))
            for value in [column[k] for k in np.flatnonzero(outside).tolist()]:
                rule = check(value)
                if rule is not None:
                    found.add(name, rule, value)

    def _by_distinct_values(self, name: str, kind: str, check: Check, column: tuple[Any, ...], found: Findings) -> bool:
        """Check each distinct value once; False if that is not possible.

        1, 1.0 and true are one key, but not one category.
        """
        try:
            distinct = set(column)
        except TypeError:
            return False
        if kind == "categorical" and not set(map(type, distinct)) <= _CATEGORIES:
            return False
        broken = {value: rule for value in distinct if (rule := check(value)) is not None}
        if broken:
            numbers = Counter(column)
            for value in sorted(broken, key=column.index) if len(broken) < COLUMNS_FROM else broken:
                found.counts[name, broken[value]] += numbers[value]
                if value is not MISSING and value is not None:
                    found.examples.setdefault((name, broken[value]), value)
        return True


_FINITE = frozenset(("categorical", "boolean"))
_CATEGORIES = frozenset((str, type(None), type(UNSET)))
_SCALARS = frozenset((str, float, int, bool))
_NOTHING = frozenset[type]()
_SOUND_TYPES: dict[str, frozenset[type]] = {"embedding": frozenset((list,)), "datetime": _SCALARS, "text": _SCALARS}


def _range(feature: Feature, known: KnownColumn) -> tuple[float, float]:
    """Numbers in here break no rule."""
    lows = [bound for bound in (feature.min, known.low) if bound is not None]
    highs = [bound for bound in (feature.max, known.high) if bound is not None]
    return max(lows, default=-math.inf), min(highs, default=math.inf)


def _column_check(feature: Feature, known: KnownColumn) -> Check:
    """One closure per column, so that the work per value is a few comparisons."""
    missing = "missing" if feature.nullable else "missing_required"
    make = {"numeric": _numeric, "categorical": _categorical, "boolean": _boolean, "embedding": _embedding}.get(
        feature.kind, _present
    )
    return make(feature, known, missing)


def _numeric(feature: Feature, known: KnownColumn, missing: str) -> Check:
    low = -math.inf if feature.min is None else feature.min
    high = math.inf if feature.max is None else feature.max
    usual_low = -math.inf if known.low is None else known.low
    usual_high = math.inf if known.high is None else known.high

    def check(value: Any) -> str | None:
        if value is None or value is MISSING:
            return missing
        kind = type(value)  # pyright: ignore[reportUnknownVariableType] (of any type; a cast costs time)
        if kind is not float and kind is not int:
            if kind is not str:
                return "bad_type"
            try:
                value = float(value)
            except ValueError:
                return "bad_type"
        if usual_low <= value <= usual_high and low <= value <= high:
            return None
        if math.isnan(value):
            return missing
        return "out_of_range" if low <= value <= high else "out_of_contract"

    return check


NO_CATEGORY = ("", "NaN")
"""The second is how the client writes what pandas has in place of a missing category."""


def _categorical(feature: Feature, known: KnownColumn, missing: str) -> Check:
    allowed = None if feature.allowed is None else frozenset(feature.allowed)
    values = known.values

    def check(value: Any) -> str | None:
        if value is None or value is MISSING or value in NO_CATEGORY:
            return missing
        if isinstance(value, list | dict):
            return "bad_type"
        if isinstance(value, float) and math.isnan(value):
            return missing
        value = category_text(value) if type(value) is str else class_text(value)
        if allowed is not None:
            return None if value in allowed else "not_allowed"
        return None if values is None or value in values else "unseen"

    return check


TRUE, FALSE = frozenset[object]((True, "true", "True", "1")), frozenset[object]((False, "false", "False", "0"))
BOOLEANS = TRUE | FALSE


def _boolean(feature: Feature, known: KnownColumn, missing: str) -> Check:
    refused = frozenset[object]()
    if feature.allowed is not None:
        refused = (TRUE if "true" not in feature.allowed else refused) | (
            FALSE if "false" not in feature.allowed else refused
        )

    def check(value: Any) -> str | None:
        if value is None or value is MISSING:
            return missing
        if isinstance(value, list | dict) or value not in BOOLEANS:
            return "bad_type"
        return "not_allowed" if value in refused else None

    return check


def _norm_rule(vector: list[float], low: float, high: float, missing: str) -> str | None:
    try:
        norm = math.sqrt(sum(map(mul, vector, vector)))
    except (TypeError, OverflowError):
        return "bad_type"
    if math.isnan(norm):
        return missing
    return None if low <= norm <= high else "out_of_range"


def _embedding(feature: Feature, known: KnownColumn, missing: str) -> Check:
    """By the number of its numbers, and by its norm: the reference knows the range of that."""

    def check(value: Any) -> str | None:
        if value is None or value is MISSING:
            return missing
        if type(value) is not list:
            return "bad_type"
        vector = cast("list[float]", value)
        if feature.dimension is not None and len(vector) != feature.dimension:
            return "out_of_contract"
        return None if known.low is None or known.high is None else _norm_rule(vector, known.low, known.high, missing)

    return check


def _present(feature: Feature, known: KnownColumn, missing: str) -> Check:
    def check(value: Any) -> str | None:
        if value is None or value is MISSING:
            return missing
        return "bad_type" if isinstance(value, list | dict) else None

    return check

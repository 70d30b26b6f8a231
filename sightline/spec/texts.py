"""Text columns: each of their descriptors is a feature of its own, called ``<column>.<descriptor>``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from sightline.errors import nearest
from sightline.narrowing import is_object

if TYPE_CHECKING:
    from sightline.spec.columns import TextDescriptor
    from sightline.spec.model import MonitorSpec
    from sightline.spec.yaml_lines import KeyPath

OWN = ("regex", "words", "python")
"""Keys that make a descriptor the user's; one of them, and only one."""


def feature_name(column: str, descriptor: str) -> str:
    """Name of the feature that a descriptor of a text column is."""
    return f"{column}.{descriptor}"


def with_descriptors(features: Mapping[str, Any]) -> dict[str, Any]:
    """Features as they stand in a file, with those that the descriptors of text columns are, each behind its column.

    Parameters
    ----------
    features : mapping of str to object
        Name -> kind, section or `Feature`. A feature of a descriptor that stands there already (for its contract or
        tolerance) is given the descriptor's kind, if it has none.

    Returns
    -------
    dict of str to object
    """
    found = dict[str, Any]()
    for name, feature in features.items():
        found.setdefault(name, feature)
        for derived, (kind, is_judged) in _derived(name, feature).items():
            given = features.get(derived)
            if given is None or given == {}:
                found[derived] = {"kind": kind, "drift": is_judged}
            elif is_object(given) and given.get("kind") is None:
                found[derived] = {"drift": is_judged, **given, "kind": kind}
    return found


def _derived(name: str, feature: object) -> dict[str, tuple[str, bool]]:
    """Feature -> kind and whether its drift is judged, of one entry; nothing where the entry is no text column."""
    said: Mapping[str, Any] = {"kind": feature} if isinstance(feature, str) else {}
    if is_object(feature):
        said = feature
    elif isinstance(feature, BaseModel):
        said = feature.model_dump(exclude_none=True)
    if said.get("kind") != "text":
        return {}
    given, is_judged = said.get("descriptors"), said.get("drift") is not False
    from metrics_py.text.descriptors import DEFAULTS, DESCRIPTORS  # costs NumPy

    found: dict[str, tuple[str, bool]] = {}
    entries = cast("Sequence[object]", given if isinstance(given, list | tuple) else DEFAULTS if given is None else ())
    for entry in entries:
        shape: Mapping[str, Any] = {"name": entry} if isinstance(entry, str) else entry if is_object(entry) else {}
        word = shape.get("name")
        if not isinstance(word, str):
            continue  # refused where the entry is read
        is_own = any(shape.get(key) is not None for key in OWN)
        known = DESCRIPTORS.get(word)
        kind = shape.get("kind") or "boolean" if is_own else known.kind if known else "numeric"
        found[feature_name(name, word)] = (kind, is_judged)
    return found


def mistakes(spec: MonitorSpec) -> Iterator[tuple[KeyPath, str, str]]:
    """Key path, what is wrong and the fix, of the descriptors of text columns."""
    for name, feature in spec.columns.features.items():
        path: KeyPath = ("columns", "features", name, "descriptors")
        if feature.descriptors is not None and feature.kind != "text":
            yield (
                path,
                f"`descriptors` have no meaning for a {feature.kind} feature",
                "remove them",
            )
            continue
        seen: set[str] = set()
        for index, entry in enumerate(feature.descriptors or ()):
            if entry.name in seen:
                yield (*path, index), f"the descriptor {entry.name!r} stands here a second time", "name it once"
            seen.add(entry.name)
            yield from _descriptor((*path, index), entry)
    for name, (column, entry) in spec.columns.derived.items():
        yield from _feature(spec, name, column, entry)


def _feature(spec: MonitorSpec, name: str, column: str, entry: TextDescriptor) -> Iterator[tuple[KeyPath, str, str]]:
    """What is wrong with the feature that a descriptor is."""
    from metrics_py.text.descriptors import DESCRIPTORS, INSTALL

    known, path = DESCRIPTORS.get(entry.name), ("columns", "features", name)
    if known is not None and not entry.is_own and not known.is_available:
        where = ("columns", "features", column, "descriptors")
        what = f"the descriptor {entry.name!r} of {column!r} needs the package {known.needs}, which is not installed"
        yield where, what, INSTALL
    kind = entry.kind or ("boolean" if entry.is_own else known.kind if known else "numeric")
    given = spec.columns.features[name].kind
    if given != kind:
        yield (*path, "kind"), f"{name!r} is computed from {column!r} and {kind}, not {given}", f"write `kind: {kind}`"
    if not spec.columns.features[name].nullable:
        what = f"{name!r} is computed from {column!r}: whether it may be missing is said there"
        yield (*path, "nullable"), what, f"move `nullable: false` to {column!r}"


def _descriptor(path: KeyPath, entry: TextDescriptor) -> Iterator[tuple[KeyPath, str, str]]:
    from metrics_py.text.descriptors import DESCRIPTORS

    given = [key for key in OWN if getattr(entry, key) is not None]
    if not given:
        if entry.name not in DESCRIPTORS:
            fix = f"{nearest(entry.name, list(DESCRIPTORS))}; or define it by `regex`, `words` or `python`"
            yield path, f"{entry.name!r} is no descriptor of texts", fix
        if entry.kind is not None:
            yield path, f"`kind` has no meaning for the built-in descriptor {entry.name!r}", "remove it"
        return
    if entry.name in DESCRIPTORS:
        yield path, f"{entry.name!r} is the name of a built-in descriptor", "give yours another name"
    if not entry.name.replace("_", "").isalnum():
        yield path, f"{entry.name!r} is no name of a descriptor", "use letters, digits and underscores"
    if len(given) > 1:
        yield path, f"the descriptor {entry.name!r} has {' and '.join(given)}", "keep one of them"
    if entry.kind not in (None, "boolean") and entry.python is None:
        yield path, f"a descriptor by {given[0]} is boolean, not {entry.kind}", "remove `kind`"
    if entry.words is not None and not any(word.strip() for word in entry.words):
        yield path, f"the descriptor {entry.name!r} names no words", "list the words"
    elif entry.words is not None and not all(word.strip() for word in entry.words):
        yield path, f"a word of the descriptor {entry.name!r} is empty", "remove it"
    if entry.python is not None and ":" not in entry.python:
        yield path, f"{entry.python!r} names no function", "write `module:function`"
    if entry.regex is not None:
        yield from pattern_mistakes(path, entry.regex)


def pattern_mistakes(path: KeyPath, regex: str) -> Iterator[tuple[KeyPath, str, str]]:
    """Expressions that the engine refuses: what takes more than linear time, and what takes too much memory."""
    import polars as pl

    try:
        pl.Series([""]).str.contains(regex)
    except pl.exceptions.PolarsError as error:
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
        fix = "use the syntax of Rust's regex: linear time, no look-around and no back-references"
        yield path, f"the regular expression {regex!r} cannot be read ({reason})", fix

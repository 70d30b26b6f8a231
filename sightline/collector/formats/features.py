"""The features of a native inference as a Struct made for its monitor.

It takes half the time and a third of the memory of a dict.

A field that was not sent is `UNSET` and is not written to the log, so that a Struct and a dict give the
same MessagePack map. Its numbers fit 64 bits. An event with a name the monitor does not know cannot
have one; its features are a dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from sightline.spec.columns import Columns

MAX_NAMES = 200
"""A wider monitor keeps dicts: msgspec looks for the name of a field one by one if they come in another order."""


class Features(msgspec.Struct, gc=False):
    """Base of the Structs; ``names`` are the columns' names in the order of the fields."""

    names: ClassVar[tuple[str, ...]] = ()


def feature_names(columns: Columns) -> tuple[str, ...]:
    """Names of the features, then those of segment columns that are no features."""
    logged = columns.logged
    return (*logged, *(name for name in columns.segments if name not in columns.features))


@lru_cache(maxsize=256)
def features_type(names: tuple[str, ...], value: Any) -> type[Features] | None:
    """The Struct of these names, each field of type `value` or not set; None if there are none, or too many."""
    if not 0 < len(names) <= MAX_NAMES:
        return None
    fields = [(f"f{i}", value | UnsetType, UNSET) for i in range(len(names))]
    rename = {f"f{i}": name for i, name in enumerate(names)}
    made: Any = msgspec.defstruct(
        "Features",
        fields,
        bases=(Features,),
        namespace={"names": names},
        rename=rename,
        forbid_unknown_fields=True,
        gc=False,
        module=__name__,
    )
    return made


def canonical(features: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The features in the order in which a Struct of these names is written.

    So a repeat of an event has the same bytes.
    """
    if features.keys() <= frozenset(names):
        return {name: features[name] for name in names if name in features}
    return dict(features)

"""A broken rule of a monitor's file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sightline.spec.yaml_lines import KeyPath

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""A function of the user's: `module:function`."""


@dataclass(frozen=True)
class Problem:
    """One broken rule."""

    key_path: KeyPath
    what: str
    fix: str


def repeated(key_path: KeyPath, names: Iterable[str], what: str) -> Iterator[Problem]:
    """Names that stand more than once."""
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(key_path, f"{name!r} is named {count} times as {what}", "name it once")

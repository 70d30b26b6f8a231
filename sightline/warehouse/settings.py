"""Facts of a monitor that follow from its spec and that SQL and Python must read alike."""

from __future__ import annotations

from sightline.spec.model import MonitorSpec


def negative_class(spec: MonitorSpec) -> str:
    """Spelling of the class decided when a binary score lies below the threshold and no class is logged.

    The value matrix may name it; else it is the counterpart of 0/1, true/false, yes/no, else ``not <positive>``.
    """
    positive = spec.positive_class
    others = [name for name in spec.value_matrix or {} if name != positive]
    if others:
        return others[0]
    pairs = [("1", "0"), ("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"), ("1.0", "0.0"), ("True", "False")]
    counterparts = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return counterparts.get(positive, f"not {positive}")

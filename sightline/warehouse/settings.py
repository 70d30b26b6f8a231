"""Facts of a monitor that follow from its spec and that SQL and Python must read alike."""

from __future__ import annotations

from metrics_py.class_names import counterpart
from sightline.spec.model import MonitorSpec


def negative_class(spec: MonitorSpec) -> str:
    """Spelling of the class decided when a binary score lies below the threshold and no class is logged.

    The file may name it; else it is the counterpart of 0/1, true/false, yes/no, else ``not <positive>``.
    """
    positive = spec.positive_class
    named = spec.negative_classes
    return named[0] if named else counterpart(positive) or f"not {positive}"

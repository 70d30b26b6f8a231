"""Why a number changed: which segments, which slices, and whether the inputs or the law behind them moved."""

from metrics_py.cause.mix_rate import Decomposition, decompose
from metrics_py.cause.moves import Move, moved
from metrics_py.cause.shift_kind import ShiftKind, shift_kind
from metrics_py.cause.weak_slices import WeakSlice, weak_slices

__all__ = ["Decomposition", "Move", "ShiftKind", "WeakSlice", "decompose", "moved", "shift_kind", "weak_slices"]

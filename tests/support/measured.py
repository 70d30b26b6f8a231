"""Measured error rates as files, one per simulation, so that the evidence page is made by the tests' own run."""

from __future__ import annotations

import json
import re
from pathlib import Path

from scipy.stats import binomtest

FOLDER = Path(__file__).parents[1] / ".artifacts" / "evidence"


def record(name: str, promised: str, measured: object, n: int, section: str) -> Path:
    """Write ``tests/.artifacts/evidence/<name>.json``; a run with more repetitions is never replaced by a smaller one.

    Parameters
    ----------
    name : str
        Name of the simulation: letters, digits, ``_`` and ``-``.
    promised : str
        The promise in words and numbers, e.g. ``coverage 0.95``.
    measured : JSON value
        A number, or a mapping of case -> number.
    n : int
        Repetitions behind each number.
    section : str
        Section of the evidence page.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"evidence name {name!r} may hold letters, digits, _ and - only")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["n"] > n:
        return path
    entry = {"name": name, "section": section, "promised": promised, "measured": measured, "n": n}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(entry, indent=2, default=float) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def interval(hits: int, n: int, confidence: float = 0.999) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of a rate, by which simulations are judged."""
    found = binomtest(int(hits), int(n)).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)

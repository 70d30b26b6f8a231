"""What to do about windows with too few texts, vectors or rows, also over a stretch of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from sightline.home import MonitorPaths
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import embedding_columns, joint_columns
from sightline.spec.stretches import stretch_of
from sightline.spec.words import text_columns

if TYPE_CHECKING:
    from metrics_py.drift.daily_statistics import Stream  # loads SciPy, which `sightline validate` does without

ADVICE = "judge longer windows"
UNITS = {"hourly": "an hour", "daily": "a day", "weekly": "a week"}
LONGER = {"hourly": "`schedule: daily` or `weekly`", "daily": "`schedule: weekly`"}
LOWER = "a lower `drift.min_rows` judges fewer, less surely"


def longer_windows(spec: MonitorSpec) -> str:
    """The fix for windows with too few rows, as the monitor's file says it.

    Parameters
    ----------
    spec : MonitorSpec
    """
    longer = LONGER.get(spec.schedule)
    return f"{longer} gives longer windows; {LOWER}" if longer else LOWER


def with_fix(spec: MonitorSpec, stream: Stream, *, pooled: bool = False) -> Stream:
    """A stream whose reasons say which setting gives it enough rows.

    Parameters
    ----------
    spec : MonitorSpec
    stream : Stream
    pooled : bool, default False
        Of stretches, which are long already.
    """
    fix = LOWER if pooled else longer_windows(spec)
    reasons = tuple(
        why and (why.replace(ADVICE, fix) if n else why.removesuffix(f": {ADVICE}"))
        for why, n in zip(stream.reason, stream.n, strict=True)
    )
    return replace(stream, reason=reasons)


def volume_warnings(spec: MonitorSpec, paths: MonitorPaths) -> Iterator[str]:
    """A warning where the reference's windows hold too few rows for texts and vectors, also over a stretch of them.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        `paths.reference`: without a frozen reference nothing is known of the volume.
    """
    judged = {
        "words and copies of texts": text_columns(spec),
        "embeddings": embedding_columns(spec),
        "columns together": joint_columns(spec),
    }
    what = [name for name, columns in judged.items() if columns]
    file = paths.reference / "profile.json"
    if not what or not file.exists():
        return
    from sightline.warehouse.pooling import USUAL
    from sightline.warehouse.reference import load_reference  # loads DuckDB, which most calls do without

    profile = load_reference(paths)
    if profile is None or profile.start is None or not profile.n_windows:
        return
    rows, stretch = profile.n_rows / profile.n_windows, stretch_of(spec)
    longest = rows * (stretch.n if stretch else 1)
    if rows < spec.drift.min_rows and (stretch is None or longest < USUAL * spec.drift.min_rows):
        yield (
            f"{rows:.0f} rows in {UNITS[spec.schedule]} of the reference, drift.min_rows is "
            f"{spec.drift.min_rows}: {', '.join(what)} are not judged ({longer_windows(spec)})"
        )

"""The monitored model: will a flight arrive more than 15 minutes late? Trained on odd days of January and February.

The even days are the reference, and every score in the log is out of sample: the odd days of January and February are
scored by a twin fitted on the even ones, everything else by the model itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl

from demo import data
from demo.data import CATEGORICAL, FEATURES, NUMERIC
from sightline.durable import replace_file

VERSION = "hgb-1"
PARAMETERS = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 16, "min_samples_leaf": 100}
SEED = 20130101

LAST_TRAINING_MONTH = 2


def is_odd_day() -> pl.Expr:
    """Odd day of the year."""
    return pl.col("day").dt.ordinal_day() % 2 == 1


def is_training_period() -> pl.Expr:
    """January and February."""
    return pl.col("day").dt.month() <= LAST_TRAINING_MONTH


def is_reference() -> pl.Expr:
    """Rows of the reference: even days of January and February, never seen in training."""
    return is_training_period() & ~is_odd_day()


def recipe() -> str:
    """Hash of all that decides the scores: the code of this package's data and model, the parameters, the libraries."""
    import sklearn

    parts = [Path(data.__file__).read_text(), Path(__file__).read_text(), sklearn.__version__, np.__version__]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def score_year(cache: Path) -> tuple[pl.DataFrame, bool]:
    """All flights of the year with ``score`` (probability of being late) and ``version``.

    Parameters
    ----------
    cache : Path
        Folder for the scored year, as ``scored-<recipe>.parquet``.

    Returns
    -------
    tuple of polars.DataFrame and bool
        Columns of `demo.data.build_flights` and the two above; whether they came from the cache.
    """
    path = cache / f"scored-{recipe()}.parquet"
    if path.exists():
        return pl.read_parquet(path), True
    scored = fit_and_score(data.build_flights())
    replace_file(path, scored.write_parquet)
    for old in cache.glob("scored-*.parquet"):
        if old != path:
            old.unlink()
    return scored, False


def fit_and_score(flights: pl.DataFrame) -> pl.DataFrame:
    """Fit the model and its twin and score every flight out of sample.

    One thread: two seconds of work, the same scores everywhere, and no spinning on a busy machine.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return _fit_and_score(flights)


def _fit_and_score(flights: pl.DataFrame) -> pl.DataFrame:
    codes = {name: sorted(flights.filter(is_training_period())[name].unique()) for name in CATEGORICAL}
    training = flights.filter(is_training_period() & pl.col("is_late").is_not_null())
    model = _fit(training.filter(is_odd_day()), codes)
    twin = _fit(training.filter(~is_odd_day()), codes)
    inputs = _inputs(flights, codes)
    in_training = flights.select(is_training_period() & is_odd_day()).to_series().to_numpy()
    score = np.empty(flights.height)
    score[~in_training] = model.predict_proba(inputs[~in_training])[:, 1]
    score[in_training] = twin.predict_proba(inputs[in_training])[:, 1]
    return flights.with_columns(pl.Series("score", score), pl.lit(VERSION).alias("version"))


def _fit(rows: pl.DataFrame, codes: dict[str, list[str]]):
    from sklearn.ensemble import HistGradientBoostingClassifier

    categorical = [FEATURES.index(name) for name in CATEGORICAL]
    model = HistGradientBoostingClassifier(
        **PARAMETERS, random_state=SEED, categorical_features=categorical, early_stopping=False
    )
    return model.fit(_inputs(rows, codes), rows["is_late"].to_numpy())


def _inputs(rows: pl.DataFrame, codes: dict[str, list[str]]) -> np.ndarray:
    """Inputs as floats; a category unseen in January and February is missing, as an unseen one is to the model."""
    encoded = [
        pl.col(name).replace_strict(values, range(len(values)), default=None, return_dtype=pl.Float64)
        for name, values in codes.items()
    ]
    return rows.select(*encoded, *NUMERIC).to_numpy().astype(np.float64)

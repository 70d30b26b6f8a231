"""Null families and changes for the alert simulations, and a runner through the engine that the product runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from metrics_py.alerting import Engine, EngineConfig, Incident
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WARMUP = 56
YEAR = 365
DAYS = WARMUP + YEAR
FIRST = 16_000  # a Monday, or not: the number of the first simulated day


@dataclass
class World:
    """Daily statistics of shape (days, streams) with sampling variances (0 = unknown)."""

    values: Floats
    variance: Floats | None = None


def _unit(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Noise of mean 0 and variance 1."""
    if kind == "gaussian":
        return rng.standard_normal(shape)
    if kind.startswith("t"):
        df = float(kind[1:])
        return rng.standard_t(df, shape) / np.sqrt(df / (df - 2))
    sigma = float(kind.removeprefix("lognormal"))
    raw = np.exp(sigma * rng.standard_normal(shape))
    return (raw - np.exp(sigma**2 / 2)) / np.sqrt((np.exp(sigma**2) - 1) * np.exp(sigma**2))


def _mix(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    out = np.empty(shape)
    for k, kind in enumerate(("gaussian", "t5", "t3.5", "lognormal0.25")):
        out[:, k::4] = _unit(kind, rng, out[:, k::4].shape)
    return out


def _autoregress(noise: Floats, rho: Floats) -> Floats:
    out = noise.copy()
    for t in range(1, len(out)):
        out[t] = rho * out[t - 1] + np.sqrt(1 - rho**2) * noise[t]
    return out


def gaussian(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """Independent normal days."""
    return World(rng.standard_normal((days, streams)))


def t3(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """Independent t3 days."""
    return World(_unit("t3", rng, (days, streams)))


def mix(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """A quarter each of normal, t5, t3.5 and lognormal(0.25) streams."""
    return World(_mix(rng, (days, streams)))


def messy(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """The mix with a common factor (correlation .3 within a monitor), AR(1) U(0, .5), weekday means and weekday variances."""
    own = _mix(rng, (days, streams))
    common = np.repeat(rng.standard_normal((days, -(-streams // monitor))), monitor, axis=1)[:, :streams]
    noise = _autoregress(np.sqrt(0.7) * own + np.sqrt(0.3) * common, rng.uniform(0, 0.5, streams))
    weekday = np.arange(days) % 7
    scale = np.exp(0.2 * rng.standard_normal((7, streams)))[weekday]
    return World(noise * scale + rng.standard_normal((7, streams))[weekday])


def ar6(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """AR(1) .6."""
    return World(_autoregress(rng.standard_normal((days, streams)), np.full(streams, 0.6)))


def rate(events: float) -> Callable[..., World]:
    """Arcsine rates with so many events a day out of lognormal volumes around 5,000 rows."""

    def draw(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
        n = np.round(5000 * np.exp(0.3 * rng.standard_normal((days, streams))))
        x = rng.binomial(n.astype(np.int64), events / 5000)
        return World(np.arcsin(np.sqrt((x + 0.375) / (n + 0.75))), 1 / (4 * n + 2))

    return draw


def log_lognormal(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """Lognormal(.5) statistics on the log scale."""
    return World(np.log(np.exp(0.5 * rng.standard_normal((days, streams)))))


FAMILIES: dict[str, Callable[..., World]] = {
    "Gaussian": gaussian,
    "t3": t3,
    "mix of Gaussian, t5, t3.5, lognormal": mix,
    "messy": messy,
    "AR(1) .6": ar6,
    "rate, 3 events a day": rate(3),
    "rate, 30 events a day": rate(30),
    "lognormal(.5), logged": log_lognormal,
}


@dataclass
class Run:
    """What a run decided: the incidents and, per stream, the day of its first alarm from `watch_from` on (-1: none)."""

    incidents: list[Incident]
    first_alarm: NDArray[np.int64]
    rejections: NDArray[np.int64]
    engine: Engine
    evidence: list[Floats] = field(default_factory=list)


def simulate(
    world: World,
    config: EngineConfig,
    *,
    monitor: int = 100,
    own_budget: bool = False,
    watch_from: int = 0,
    restart_at: int | None = None,
) -> Run:
    """Run a world through the engine, one decision a day.

    Parameters
    ----------
    world : World
        The statistics.
    config : EngineConfig
        Settings.
    monitor : int
        Streams per monitor: they share tails and, unless `own_budget`, the budget.
    own_budget : bool
        Every stream decides alone (threshold c each).
    watch_from : int
        Day from which `Run.first_alarm` counts.
    restart_at : int, optional
        Day before which the engine is written to its state and read back.
    """
    days, streams = world.values.shape
    pools = np.arange(streams) // monitor
    names = [f"s{k}" for k in range(streams)]
    engine = Engine(config, names, pools=pools, families=np.arange(streams) if own_budget else pools)
    everyone = np.arange(streams)
    first = np.full(streams, -1)
    rejections = np.zeros(streams, dtype=np.int64)
    for day in range(days):
        if day == restart_at:
            engine = Engine.from_state(engine.to_state(), config)
        variance = None if world.variance is None else world.variance[day]
        decision = engine.step(FIRST + day, everyone, world.values[day], variance)
        rejections[decision.rejected] += 1
        if day >= watch_from:
            fresh = decision.rejected[first[decision.rejected] < 0]
            first[fresh] = day
    return Run(engine.incidents, first, rejections, engine)


def daily(c: float, **settings) -> EngineConfig:
    """Daily windows with 56 days of warm-up, the setting of the tables."""
    settings.setdefault("warmup", WARMUP)
    return EngineConfig(c=c, window=timedelta(days=1), **settings)

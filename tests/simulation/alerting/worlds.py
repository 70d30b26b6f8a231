"""Null families and changes for the alert simulations, and a runner through the engine that the product runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting import Engine, EngineConfig, Incident

Floats = NDArray[np.float64]
WARMUP = 56
YEAR = 365
DAYS = WARMUP + YEAR
FIRST = 16_002  # number of the first simulated day, a Monday


@dataclass
class World:
    """Daily statistics of shape (days, streams) with sampling variances (0 = unknown)."""

    values: Floats
    variance: Floats | None = None


def unit_noise(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
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
        out[:, k::4] = unit_noise(kind, rng, out[:, k::4].shape)
    return out


def autoregress(noise: Floats, rho: Floats) -> Floats:
    """AR(1) of unit variance from unit noise of shape (time, streams)."""
    out = noise.copy()
    for t in range(1, len(out)):
        out[t] = rho * out[t - 1] + np.sqrt(1 - rho**2) * noise[t]
    return out


def gaussian(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """Independent normal days."""
    return World(rng.standard_normal((days, streams)))


def t3(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """Independent t3 days."""
    return World(unit_noise("t3", rng, (days, streams)))


def mix(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """A quarter each of normal, t5, t3.5 and lognormal(0.25) streams."""
    return World(_mix(rng, (days, streams)))


def messy(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """The mix with a common factor (correlation .3 within a monitor), AR(1) U(0, .5), weekday means and variances."""
    own = _mix(rng, (days, streams))
    common = np.repeat(rng.standard_normal((days, -(-streams // monitor))), monitor, axis=1)[:, :streams]
    noise = autoregress(np.sqrt(0.7) * own + np.sqrt(0.3) * common, rng.uniform(0, 0.5, streams))
    weekday = np.arange(days) % 7
    scale = np.exp(0.2 * rng.standard_normal((7, streams)))[weekday]
    return World(noise * scale + rng.standard_normal((7, streams))[weekday])


def ar6(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """AR(1) .6."""
    return World(autoregress(rng.standard_normal((days, streams)), np.full(streams, 0.6)))


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


def counts(arcsine_of: Callable[[np.random.Generator, tuple[int, int]], NDArray[Any]]) -> Callable[..., World]:
    """Arcsine rates of counts out of 5,000 rows a day."""

    def draw(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
        x = arcsine_of(rng, (days, streams)).astype(float)
        return World(np.arcsin(np.sqrt((x + 0.375) / 5000.75)), np.full((days, streams), 1 / 20_000))

    return draw


def zero_inflated(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[Any]:
    """85 % of days without any, else Poisson(8)."""
    return np.where(rng.random(shape) < 0.85, 0, rng.poisson(8, shape))


def gamma_poisson(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[Any]:
    """Half of the days without any, else Poisson with an exponential mean of 10."""
    return rng.poisson(np.where(rng.random(shape) < 0.5, 0.0, rng.gamma(1.0, 10.0, shape)))


def raw_lognormal(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """Lognormal(1) on its raw scale: nothing has stabilised it."""
    return World(np.exp(rng.standard_normal((days, streams))))


def bursts(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
    """Normal days, and bursts of 4 to 12 standard deviations on 3 % of days."""
    size = 8 * rng.uniform(0.5, 1.5, (days, streams))
    return World(rng.standard_normal((days, streams)) + np.where(rng.random((days, streams)) < 0.03, size, 0.0))


UNSMOOTH: dict[str, Callable[..., World]] = {
    "85 % zero days, else Poisson(8)": counts(zero_inflated),
    "gamma-Poisson, half zeros": counts(gamma_poisson),
    "lognormal(1), raw": raw_lognormal,
    "bursts on 3 % of days": bursts,
}
"""Streams that no smooth law on any scale fits."""


def seasonal(amplitude: float) -> Callable[..., World]:
    """AR(1) .3, weekdays, and a season of the year of so many standard deviations, of a phase of its own per stream."""

    def draw(rng: np.random.Generator, days: int, streams: int, monitor: int = 100) -> World:
        time = np.arange(days)[:, None]
        noise = autoregress(rng.standard_normal((days, streams)), np.full(streams, 0.3))
        weekday = 0.5 * rng.standard_normal((7, streams))[np.arange(days) % 7]
        wave = np.sin(2 * np.pi * time / 365.2425 + rng.uniform(0, 2 * np.pi, streams))
        return World(noise + weekday + amplitude * np.sqrt(2) * wave)

    return draw


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


def side_by_side(worlds: list[World]) -> World:
    """Several worlds as one, their streams one after another."""
    variances = [np.zeros_like(w.values) if w.variance is None else w.variance for w in worlds]
    return World(np.hstack([w.values for w in worlds]), np.hstack(variances))


@dataclass
class Run:
    """What a run decided: the incidents and, per stream, the day of its first alarm from `watch_from` on (-1: none)."""

    incidents: list[Incident]
    first_alarm: NDArray[np.int64]
    rejections: NDArray[np.int64]
    engine: Engine


def simulate(
    world: World,
    config: EngineConfig,
    *,
    monitor: int = 100,
    own_budget: bool = False,
    watch_from: int = 0,
    restart_at: int | None = None,
    lag: NDArray[np.int64] | None = None,
    follow_from: int | None = None,
    pools: NDArray[np.int64] | None = None,
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
        Day before which the engine is written to its state (through JSON) and read back.
    lag : integer array (streams,), optional
        Days by which the statistics of a stream come late (labels).
    follow_from : int, optional
        Day from which every stream follows its level, as after an incident that nobody attended to.
    pools : integer array (streams,), optional
        Pool of tails of each stream; default: one per monitor.
    """
    days, streams = world.values.shape
    monitors = np.arange(streams) // monitor
    names = [f"s{k}" for k in range(streams)]
    families = np.arange(streams) if own_budget else monitors
    engine = Engine(config, names, pools=monitors if pools is None else pools, families=families)
    everyone = np.arange(streams)
    first = np.full(streams, -1)
    rejections = np.zeros(streams, dtype=np.int64)
    for day in range(days):
        if day == restart_at:
            engine = Engine.from_state(json.loads(json.dumps(engine.to_state())), config)
        if day == follow_from:
            engine.states.baseline.follow(everyone, int(config.follow_windows or 1))
        variance = None if world.variance is None else world.variance[day]
        if lag is None:
            decision = engine.step(FIRST + day, everyone, world.values[day], variance)
        else:
            here = everyone[day >= lag]
            values = world.values[day - lag[here], here]
            decision = engine.step(FIRST + day, here, values, windows=FIRST + day - lag[here])
        rejections[decision.rejected] += 1
        if day >= watch_from:
            fresh = decision.rejected[first[decision.rejected] < 0]
            first[fresh] = day
    return Run(engine.incidents, first, rejections, engine)


def daily(c: float, **settings) -> EngineConfig:
    """Daily windows with 56 days of warm-up, the setting of the tables."""
    settings.setdefault("warmup", WARMUP)
    return EngineConfig(threshold_windows=c, window=timedelta(days=1), **settings)

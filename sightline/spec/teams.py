"""``alerts/teams.yaml``: one alert budget over the monitors of a team, shared out among them.

A monitor's engine keeps its own promise: at most `T / c` false incidents in `T` windows, however its streams depend on
each other. Expectations add up, so shares that sum to one keep the team's budget, however its monitors depend on each
other; no monitor waits for another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.spec.budget import Budget
from sightline.spec.durations import LONGEST, format_duration
from sightline.spec.judging_sections import BudgetField
from sightline.spec.loader import SpecError, monitor_files, read_part
from sightline.spec.model import MonitorSpec
from sightline.spec.part import Part
from sightline.spec.yaml_lines import Document


class Team(Part):
    """Monitors that one budget is over."""

    monitors: tuple[str, ...] = Field(min_length=1, description="Ids of the monitors.")
    budget: BudgetField = Field(
        description="Expected false incidents of all of them together at most, e.g. `1 per 30d`."
    )
    weights: dict[str, float] = Field(
        default={}, description="Monitor -> relative share of the budget; 1 where none is given."
    )


class Teams(Part):
    """The file `alerts/teams.yaml`."""

    teams: dict[str, Team] = Field(default={}, description="Name of the team -> its monitors and budget.")


@dataclass(frozen=True)
class Share:
    """What a team's budget leaves to one monitor.

    Parameters
    ----------
    team : str
        Its name.
    whole : Budget
        Of the team.
    part : float
        Share of it, in (0, 1].
    n_monitors : int
        That share it.
    """

    team: str
    whole: Budget
    part: float
    n_monitors: int

    @property
    def budget(self) -> Budget:
        """The share as a budget: incidents per a longer time."""
        return Budget(incidents=self.whole.incidents, per=self.whole.per / self.part)

    @property
    def words(self) -> str:
        """Where the budget comes from."""
        incidents = "incident" if self.whole.incidents == 1 else "incidents"
        return (
            f"its share of the budget of the team {self.team}: {self.whole.incidents:g} false {incidents} per "
            f"{format_duration(self.whole.per)} over {self.n_monitors} monitors"
        )


def teams_file(home: Home) -> Path:
    """``alerts/teams.yaml`` of a home."""
    return home.root / "alerts" / "teams.yaml"


def load_teams(home: Home) -> Teams:
    """Read `alerts/teams.yaml`; without it there are no teams.

    Raises
    ------
    SpecError
        With all mistakes of the file, each with its line.
    """
    path = teams_file(home)
    if not path.is_file():
        return Teams()
    document, teams, found = read_part(path, Teams)
    if teams is not None:
        found += _problems(document, teams, [file.stem for file in monitor_files(home)])
    if found or teams is None:
        raise SpecError(found)
    return teams


def with_share(spec: MonitorSpec, home: Home) -> MonitorSpec:
    """The monitor under the strictest of its own budget, if its file names one, and of its shares of teams' budgets.

    Parameters
    ----------
    spec : MonitorSpec
    home : Home

    Returns
    -------
    MonitorSpec
        Its `budget_note` says where the budget comes from; also that `alerts/teams.yaml` has mistakes, while the
        monitor goes on under its own budget.
    """
    try:
        teams = load_teams(home)
    except SightlineError as error:
        return spec.with_budget(spec.alerts.budget, f"no team's budget is in force: {_first_line(error)}")
    shares = [share for name, team in teams.teams.items() if (share := _share(name, team, spec.id)) is not None]
    if not shares:
        return spec
    strictest = max(shares, key=lambda share: share.budget.windows(spec.window))
    if strictest.budget.windows(spec.window) < 1:
        note = f"stricter than {strictest.words}, which is more than one per window"
        return spec.with_budget(spec.alerts.budget, note)
    is_own = "budget" in spec.alerts.model_fields_set
    if is_own and spec.alerts.budget.windows(spec.window) >= strictest.budget.windows(spec.window):
        return spec.with_budget(spec.alerts.budget, f"stricter than {strictest.words}")
    return spec.with_budget(strictest.budget, strictest.words)


def _share(name: str, team: Team, monitor: str) -> Share | None:
    if monitor not in team.monitors:
        return None
    weights = [team.weights.get(each, 1.0) for each in team.monitors]
    part = team.weights.get(monitor, 1.0) / sum(weights)
    return Share(name, team.budget, part, len(team.monitors))


def _first_line(error: SightlineError) -> str:
    return str(error).splitlines()[0]


def _problems(document: Document, teams: Teams, known: list[str]) -> list[SightlineError]:
    """Rules between keys, and numbers that make no budget."""
    found: list[SightlineError] = []
    for name, team in teams.teams.items():
        base = ("teams", name)
        for k, monitor in enumerate(team.monitors):
            where = document.where((*base, "monitors", k))
            if monitor not in known:
                what = f"there is no monitor {monitor!r}"
                found.append(SightlineError(what, where=where, fix=nearest(monitor, known) if known else None))
            if monitor in team.monitors[:k]:
                found.append(SightlineError(f"the monitor {monitor!r} stands here a second time", where=where))
        found += _too_small(document, name, team)
        for monitor, weight in team.weights.items():
            where = document.where((*base, "weights", monitor))
            if monitor not in team.monitors:
                what = f"the team {name} has no monitor {monitor!r}"
                found.append(SightlineError(what, where=where, fix=nearest(monitor, team.monitors)))
            if not (math.isfinite(weight) and weight > 0):
                fix = "give a positive number; take the monitor out of the team to leave it without a share"
                found.append(
                    SightlineError(f"the weight {weight:g} of {monitor!r} is not positive", where=where, fix=fix)
                )
    return found


def _too_small(document: Document, name: str, team: Team) -> list[SightlineError]:
    """Shares that are longer than any duration of a monitor's file may be."""
    weights = {monitor: team.weights.get(monitor, 1.0) for monitor in team.monitors}
    if not all(math.isfinite(weight) and weight > 0 for weight in weights.values()):
        return []  # told on its own
    for monitor, weight in weights.items():
        part = weight / sum(weights.values())
        if part < team.budget.per / LONGEST:
            where = document.where(("teams", name, "weights" if monitor in team.weights else "monitors"))
            what = f"the share of {monitor!r}, {part:.3g} of {team.budget}, is rarer than once in {LONGEST.days}d"
            fix = "give weights that are not so far apart, or a shorter duration to the budget"
            return [SightlineError(what, where=where, fix=fix)]
    return []

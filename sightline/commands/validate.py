"""`sightline validate`: what each monitor file will create, or what is wrong with it and where."""

from __future__ import annotations

import glob
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from sightline.alerts.routing import unknown_names
from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.judging.longer_windows import volume_warnings
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.stored_spec import changes
from sightline.results.learnt_delays import delay_warnings, delay_words, with_learnt_delays
from sightline.retraining import estimator
from sightline.spec import kinds, plan
from sightline.spec.column_rules import ROLES
from sightline.spec.dashboards import dashboard_files
from sightline.spec.data_sections import Source, remotes
from sightline.spec.durations import format_duration
from sightline.spec.home_file import load_home_file
from sightline.spec.loader import SUFFIXES, SpecError, load_monitor, load_monitors, monitor_files
from sightline.spec.model import MonitorSpec
from sightline.spec.routes import load_routes, routes_file
from sightline.spec.source_sections import lacking_here, place_named
from sightline.spec.stretches import sliding_windows
from sightline.spec.teams import load_teams
from sightline.user_metrics import python_metrics, sql_metrics

UNIT = {"hourly": "hour", "daily": "day", "weekly": "week"}


SLIDING_WARMUP = 12
"""Blocks of a sliding window that the alert engine learns from before it may alarm."""

READ_WHOLE_BYTES = 64 << 20
"""Larger reference files are not read to count labels: the asset `reference` tells of them."""


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--connect", is_flag=True, help="Ask databases, stores and brokers that `sources` names, and show columns."
)
def command(paths: tuple[Path, ...], form: str, connect: bool) -> None:
    """Check monitor files and print what each will create. PATHS: files, folders or monitor ids; default: monitors/."""
    home = Home.from_env()
    files = _files(home, paths)
    summaries: list[dict[str, Any]] = []
    errors: list[SightlineError] = []
    for path in files:
        try:
            spec = load_monitor(path)
            if spec.id in {summary["id"] for summary in summaries}:
                what, fix = f"a second file describes the monitor {spec.id!r}", "keep one of .yaml and .yml"
                raise SightlineError(what, where=str(path), fix=fix)
            if mistakes := [
                *sql_metrics.problems(spec, path),
                *python_metrics.problems(spec, path, _home_of(path).root),
                *estimator.problems(spec, path, _home_of(path).root),
            ]:
                raise SpecError(mistakes)
            summaries.append(summarise(spec, path, _home_of(path)))
            if connect:
                errors += _connected(spec, _home_of(path), summaries[-1])
        except SightlineError as error:
            errors.append(error)
    n_broken = len(files) - len(summaries)
    errors += [error for each in _homes(home, files) for error in _mistakes_of(each)]
    if form == "json":
        broken = [{"path": _path_of(error), "error": str(error)} for error in errors]
        click.echo(json.dumps({"monitors": summaries, "errors": broken}, indent=2, ensure_ascii=False))
    else:
        click.echo("\n\n".join("\n".join(_lines(summary)) for summary in summaries))
    for error in errors if form == "text" else ():
        click.echo(f"\nerror: {error}", err=True)
    if n_broken:
        n_files = len(summaries) + n_broken
        click.echo(f"\n{n_broken} of {n_files} monitor files have mistakes; the others are not affected.", err=True)
    if errors:
        sys.exit(2)


def _connected(spec: MonitorSpec, home: Home, summary: dict[str, Any]) -> Iterator[SightlineError]:
    """Ask the sources; the columns they have go to the summary."""
    from sightline.lake.intake.fetching import columns_found

    summary["sources"] = {}
    for side in ("inferences", "labels"):
        try:
            if found := columns_found(spec, side, home):
                summary["sources"][side] = {"place": found[0], "columns": found[1]}
        except SightlineError as error:
            yield error


def _homes(home: Home, files: Iterable[Path]) -> list[Home]:
    """Homes of the monitors; the one of the environment too."""
    return list({found.root: found for found in (home, *map(_home_of, files))}.values())


def _mistakes_of(home: Home) -> Iterator[SightlineError]:
    """What is wrong with `sightline.yaml`, `alerts/` and `dashboards/`: no monitor's file tells it."""
    for load in (load_home_file, load_teams, load_routes):
        try:
            load(home)
        except SightlineError as error:
            yield error
    if dashboard_files(home):
        from sightline.dashboard.custom.checking import mistakes  # loads DuckDB and what draws pages

        yield from mistakes(home, load_monitors(home, freeze=False)[0])


def _files(home: Home, paths: tuple[Path, ...]) -> list[Path]:
    if not paths:
        files = monitor_files(home)
        if not files:
            fix = "write one with `sightline init SAMPLE` (a Parquet, CSV or NDJSON file of predictions)"
            raise SightlineError("there is no monitor", where=str(home.monitors), fix=fix)
        return files
    by_id = {path.stem: path for path in monitor_files(home)}
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.name[0] not in "._")
        elif path.exists() or path.suffix in SUFFIXES:
            found.append(path)
        elif str(path) in by_id:
            found.append(by_id[str(path)])
        else:
            fix = nearest(str(path), by_id) if by_id else "give a file"
            raise SightlineError("there is no such file, folder or monitor", where=str(path), fix=fix)
    return found


def _home_of(path: Path) -> Home:
    folder = path.resolve().parent
    return Home(folder.parent) if folder.name == "monitors" else Home.from_env()


def _path_of(error: SightlineError) -> str:
    return (error.where or "").rpartition(":")[0] or error.where or ""


def summarise(spec: MonitorSpec, path: Path, home: Home) -> dict[str, Any]:
    """All that `validate` tells of one monitor, as plain data."""
    checks: dict[str, list[str]] = {}
    for check in plan.checks(spec):
        checks.setdefault(check.asset, []).append(check.name)
    paths = home.monitor(spec.id)
    return {
        "id": spec.id,
        "path": str(path),
        "task": spec.model.task,
        "owner": spec.model.owner,
        "description": spec.model.description,
        "notify": list(spec.alerts.notify),
        "primary_metric": plan.primary_metric(spec),
        "schedule": spec.schedule,
        "close_after": format_duration(spec.closing_time),
        "first_window": spec.key(spec.first_window),
        "n_complete_windows": plan.windows(spec),
        "features": {name: feature.kind for name, feature in spec.columns.features.items()},
        "segments": list(spec.columns.segments),
        "reference": _reference(spec),
        "assets": sorted(plan.assets(spec)),
        "dbt_models": plan.dbt_models(),
        "checks": checks,
        "blocking_checks": [check.name for check in plan.checks(spec) if check.blocking],
        "contracts": {name: rules for name in spec.columns.features if (rules := plan.contract(spec, name))},
        "jobs": plan.jobs(spec),
        "sensors": plan.sensors(spec),
        "freshness_deadlines": {
            what: format_duration(limit) for what, limit in with_learnt_delays(spec, paths).deadlines.items()
        },
        "label_delays": delay_words(spec, paths),
        "alert_budget": str(spec.alerts.budget),
        "promise": plan.promise(spec),
        "reads": _reads(spec, home),
        "writes": str(paths.root),
        "warnings": list(_warnings(spec, home)),
    }


def _notify_warnings(spec: MonitorSpec, home: Home) -> Iterator[str]:
    """Names that are told by nothing; without `alerts/routes.yaml` all are only shown."""
    try:
        routes = load_routes(home) if routes_file(home).is_file() else None
    except SightlineError:
        return  # told once, for the file
    for name, fix in () if routes is None else unknown_names(routes, spec.alerts.notify):
        yield f"alerts.notify names {name!r}, no channel or route of alerts/routes.yaml: it is only shown. {fix}"


def _reference(spec: MonitorSpec) -> str:
    reference = spec.reference
    if reference.kind == "file":
        folder = spec.home_folder is not None and (spec.home_folder / str(reference.path)).is_dir()
        return f"the {'folder' if folder else 'file'} {reference.path}, frozen once"
    if reference.kind == "rolling":
        return f"the {format_duration(reference.length)} before each window (rolling)"
    if reference.start is None or reference.end is None:
        return "a window without start or end"
    start, end = spec.floor(reference.start), spec.floor(reference.end)
    end = end if end == reference.end else end + spec.window
    told = f"predictions from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, frozen once"
    if (start, end) == (reference.start, reference.end):
        return told
    given = f"{reference.start:%Y-%m-%d %H:%M} to {reference.end:%Y-%m-%d %H:%M}"
    return f"{told}; the file says {given}, widened to whole {UNIT[spec.schedule]}s"


def _reads(spec: MonitorSpec, home: Home) -> list[str]:
    paths = home.monitor(spec.id)
    reads = [f"{paths.landing_inferences} (Parquet, CSV, NDJSON)", f"{paths.log} (client and collector)"]
    if spec.labels:
        reads.insert(1, f"{paths.landing_labels} (Parquet, CSV, NDJSON)")
    for kind in ("inferences", "labels"):
        source = getattr(spec.sources, kind)
        if source:
            reads += [f"{kind}: {key} {place_named(remote)}" for key, remote in remotes(source).items()]
            if not remotes(source):
                reads.append(f"{kind}: {source.parquet or f'{source.duckdb}, table {source.table}'}")
    return reads


def _warnings(spec: MonitorSpec, home: Home) -> Iterator[str]:
    """What is legal, but probably not meant."""
    if not spec.columns.features:
        yield "no features are listed: only the score or prediction is judged"
    if spec.labels is None:
        yield "no labels: realised quality is never known"
    elif spec.labels.column in spec.columns.features:
        yield f"the label column {spec.labels.column!r} is listed as a feature: does the model see the truth?"
    if spec.columns.weight:
        yield (
            f"columns.weight {spec.columns.weight!r} weighs nothing: it is added up (sum_weight); metrics, rates and "
            "drift count every row once, and windows of unequal weights say so"
        )
    yield from _class_warnings(spec)
    for role in ("score", "prediction"):
        name = getattr(spec.columns, role)
        if name in spec.columns.features:
            yield f"columns.{role} {name!r} is listed as a feature too"
    if spec.model.owner is None:
        yield "no owner: nobody is named on assets and incidents"
    if spec.model.task == "binary_classification" and not spec.columns.score:
        yield "no score: ROC AUC, log loss, Brier score and calibration are not available"
    if spec.reference.kind == "file" and not (home.root / str(spec.reference.path)).exists():
        yield f"the reference file {spec.reference.path} does not exist yet"
    for kind in ("inferences", "labels"):
        source = getattr(spec.sources, kind)
        if source and source.parquet and not glob.glob(str(home.root / source.parquet), recursive=True):  # noqa: PTH207
            yield f"no file matches sources.{kind}.parquet: {source.parquet}"
        if source and source.duckdb and not (home.root / source.duckdb).exists():
            yield f"the file sources.{kind}.duckdb does not exist: {source.duckdb}"
        yield from _remote_warnings(kind, source)
    yield from _column_warnings(spec, home)
    yield from _personal_warnings(spec)
    yield from _label_warnings(spec, home)
    yield from delay_warnings(spec, home.monitor(spec.id))
    yield from _sliding_warnings(spec)
    yield from volume_warnings(spec, home.monitor(spec.id))
    yield from _coverage_warnings(spec)
    yield from _stored_warnings(spec, home)
    yield from _notify_warnings(spec, home)


def _remote_warnings(kind: str, source: Source | None) -> Iterator[str]:
    for key, remote in remotes(source).items() if source else ():
        yield from (f"sources.{kind}.{key}: {lacking}" for lacking in lacking_here(key, remote))


def _sliding_warnings(spec: MonitorSpec) -> Iterator[str]:
    """How long quality over longer windows is told before it can alarm."""
    for over in sliding_windows(spec):
        length = format_duration(over.n * spec.window)
        taught = format_duration(SLIDING_WARMUP * over.n * spec.window)
        yield f"quality over {length} may alarm after {taught}: it is known by {SLIDING_WARMUP} values of its own"


def _coverage_warnings(spec: MonitorSpec) -> Iterator[str]:
    """Patterns of `alerts.not_judged` that mean nothing."""
    names = {name for check in plan.checks(spec) for name in (check.name, check.column, check.metric) if name}
    for pattern in spec.alerts.not_judged:
        if not any(fnmatchcase(name, pattern) for name in names):
            meant = nearest(pattern, sorted(names), most=8)
            yield f"alerts.not_judged: {pattern!r} means no check, column or metric. {meant}"


def _class_warnings(spec: MonitorSpec) -> Iterator[str]:
    """Labels that count as a class only because no file says otherwise."""
    if spec.labels is None or spec.class_names.is_closed:
        return
    if spec.model.task == "binary_classification":
        yield f"no labels.negative: every label but {spec.positive_class!r} counts as negative, misspelled ones too"
    if spec.model.task == "multiclass_classification":
        yield (
            "no classes are named: every label is a class of its own, misspelled ones too, and words such as unknown, "
            "none, N/A and ? are none; name all under labels.classes"
        )


def _stored_warnings(spec: MonitorSpec, home: Home) -> Iterator[str]:
    """Stored data that do not fit the file."""
    with open_ledger(home.monitor(spec.id).ledger, create=False) as ledger:
        found = [str(change) for change in changes(spec, home.monitor(spec.id), ledger) if not change.is_harmless]
    if found:
        yield f"the stored data were made under other settings ({'; '.join(found)}): run sightline migrate {spec.id}"


def _personal_warnings(spec: MonitorSpec) -> Iterator[str]:
    for name in sorted(spec.columns.personal & set(spec.columns.segments)):
        yield (
            f"columns.segments: {name} is personal, but its values name segments: all pages, checks and messages show "
            "them; take it out of the segments, or `personal` off"
        )


def _label_warnings(spec: MonitorSpec, home: Home) -> Iterator[str]:
    """Labels of the reference's file that cannot be read."""
    file = home.root / str(spec.reference.path)
    has_labels = spec.reference.kind == "file" and spec.labels is not None
    if not has_labels or not file.is_file() or file.stat().st_size > READ_WHOLE_BYTES:
        return
    from sightline.warehouse.reference_data import file_data  # loads DuckDB, which most calls do without

    try:
        data = file_data(spec, home)
    except SightlineError:
        return  # what is wrong with the file is told where its columns are compared, or when it is built
    if data.n_bad_labels:
        yield (
            f"{data.n_bad_labels} labels of the reference file {spec.reference.path} cannot be read "
            f"({spec.labels.column if spec.labels else ''}): their rows count as unlabelled"
        )


def _column_warnings(spec: MonitorSpec, home: Home) -> Iterator[str]:
    """Columns that the file names and the first known data lacks."""
    for origin, path in _samples(spec, home):
        try:
            columns = kinds.read_sample(path, rows=1_000).columns
        except SightlineError as error:
            yield str(error)
            continue
        named = {f"columns.{role}": getattr(spec.columns, role) for role in ROLES} if origin == "inferences" else {}
        named |= {f"the feature {name!r}": name for name in spec.columns.logged}
        named |= {f"the segment {name!r}": name for name in spec.columns.segments if name not in spec.columns.computed}
        for what, name in named.items():
            if name is not None and name not in columns:
                yield f"{path.name} has no column {name!r} ({what}). {nearest(name, columns)}"


def _samples(spec: MonitorSpec, home: Home) -> Iterator[tuple[str, Path]]:
    if spec.reference.kind == "file" and (home.root / str(spec.reference.path)).exists():
        yield "reference", home.root / str(spec.reference.path)
    source = spec.sources.inferences
    if source and source.parquet:
        files = sorted(glob.glob(str(home.root / source.parquet), recursive=True))  # noqa: PTH207 (may be absolute)
        if files:
            yield "inferences", Path(files[0])
    landing = home.monitor(spec.id).landing_inferences
    files = sorted(p for p in landing.rglob("*") if kinds.format_of(p.name)) if landing.is_dir() else []
    if files:
        yield "inferences", files[0]


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    unit = UNIT[summary["schedule"]]
    counts: Counter[str] = Counter(summary["features"].values())
    told = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "none"
    yield f"{summary['id']}  ({summary['path']})"
    yield f"  model       {summary['task'].replace('_', ' ')}, owner {summary['owner'] or 'not named'}"
    if summary["description"]:
        yield f"  {'':<11} {summary['description']}"
    yield (
        f"  windows     one per {unit} from {summary['first_window']} (UTC), {summary['n_complete_windows']} complete "
        f"so far, each judged {summary['close_after']} after its end"
    )
    yield f"  features    {len(summary['features'])}: {told}; segments: {', '.join(summary['segments']) or 'none'}"
    yield f"  reference   {summary['reference']}"
    for index, source in enumerate(summary["reads"]):
        yield f"  {'reads' if index == 0 else '':<11} {source}"
    for side, found in summary.get("sources", {}).items():
        columns = ", ".join(f"{name} ({kind})" for name, kind in found["columns"].items()) or "none yet: it is empty"
        yield f"  connected   {side}: {found['place']} has {columns}"
    yield f"  writes      {summary['writes']}"
    models = f", and {len(summary['dbt_models'])} dbt models" if summary["dbt_models"] else ""
    assets = ", ".join(f"{summary['id']}/{name}" for name in summary["assets"])
    yield f"  assets      {assets}{models}"
    for asset, checks in summary["checks"].items():
        yield f"  checks      {asset} ({len(checks)}): {', '.join(checks)}"
    for column, rules in summary["contracts"].items():
        yield f"  contract    {column}: {'; '.join(rules)} (else the check fails as an error)"
    yield f"  jobs        {', '.join(summary['jobs'])}"
    yield f"  sensors     {', '.join(summary['sensors'])}"
    limits = ", ".join(f"{what} every {limit}" for what, limit in summary["freshness_deadlines"].items())
    yield f"  freshness   new {limits}, or the asset turns stale"
    for index, told in enumerate(summary["label_delays"]):
        yield f"  {'labels' if index == 0 else '':<11} {told}"
    if summary["primary_metric"]:
        yield f"  quality     the metric that matters most: {summary['primary_metric']}"
    yield f"  alerts      {summary['promise']}; to be told: {', '.join(summary['notify']) or 'nobody'}"
    for warning in summary["warnings"]:
        yield f"  warning     {warning}"

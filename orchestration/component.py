"""`sightline.MonitorComponent`: monitors in a ``dg`` project of one's own, beside its other assets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Annotated, Any

import dagster as dg

from orchestration.broken import broken_monitor
from orchestration.code_location import build_some
from orchestration.sensors import alert_sensor
from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.spec import names
from sightline.spec.loader import BrokenMonitor, load_monitor
from sightline.spec.model import MonitorSpec

FEEDS = ("inferences", "labels")

Monitors = Annotated[
    str | Sequence[str],
    dg.Resolver.default(
        description="Monitor files, or patterns such as `monitors/*.yaml`; relative to the folder of this file.",
        examples=["churn.yaml", ["monitors/*.yaml"]],
    ),
]
HomeFolder = Annotated[
    str,
    dg.Resolver.default(
        description="Folder that holds `data/`, as SIGHTLINE_HOME does; relative to the folder of this file.",
        examples=["../../../sightline_home", "{{ env.SIGHTLINE_HOME }}"],
    ),
]
Upstream = Annotated[
    Mapping[str, Sequence[str]] | None,
    dg.Resolver.default(
        description="Keys of your assets that make what lands: `inferences: [warehouse/scores]`, `labels: [...]`.",
        examples=[{"inferences": ["warehouse/scores"], "labels": ["warehouse/outcomes"]}],
    ),
]


@dataclass
class MonitorComponent(dg.Component, dg.Resolvable):
    """Monitors of models, one YAML file each, as assets, checks, jobs and sensors.

    Parameters
    ----------
    monitors : str or list of str
        Their files, or patterns of them. A file that has a mistake becomes an asset of the group `broken_monitors`.
    home : str
        Folder that holds `data/`; made if absent.
    upstream : mapping, optional
        `inferences` and `labels`: keys of the assets that make what lands for them.
    """

    monitors: Monitors
    home: HomeFolder
    upstream: Upstream = None

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` tells."""
        return dg.ComponentTypeSpec(description="ML monitors of Sightline, one YAML file per model.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Definitions of the monitors; what cannot be used is shown as an asset and stops nothing else."""
        folder = Path(context.path)
        folder = folder if folder.is_dir() else folder.parent
        home = Home((folder / self.home).resolve())
        specs, broken = read_monitors(
            home, folder, [self.monitors] if isinstance(self.monitors, str) else self.monitors
        )
        sensor = f"{alert_sensor.NAME}__{names.slug('_'.join(sorted(specs)))[:40]}_{names.digest(str(folder))}"
        try:
            upstream = upstream_keys(self.upstream or {})
            return build_some(home, specs, broken, sensor=sensor, upstream=upstream)
        except SightlineError as error:
            where = [home.monitors / f"{name}.yaml" for name in specs]
            shown = [*broken, *(BrokenMonitor(path, error) for path in where)]
            return dg.Definitions.merge(*(broken_monitor(home, monitor) for monitor in shown))


def read_monitors(
    home: Home, folder: Path, patterns: Iterable[str]
) -> tuple[dict[str, MonitorSpec], list[BrokenMonitor]]:
    """Read monitor files anywhere.

    Parameters
    ----------
    home : Home
        Where their data lie.
    folder : Path
        What the patterns are relative to.
    patterns : iterable of str
        Files, or patterns of them; ``**`` is any folders.

    Returns
    -------
    specs : dict of str to MonitorSpec
        By id, sorted.
    broken : list of BrokenMonitor
        Files with mistakes, and patterns that match nothing.
    """
    files: dict[Path, None] = {}
    specs: dict[str, MonitorSpec] = {}
    broken: list[BrokenMonitor] = []
    for pattern in patterns:
        found = sorted(Path(path).resolve() for path in glob(str(folder / pattern), recursive=True))  # noqa: PTH207 (may be absolute)
        if not found:
            fix = "write a path relative to the folder of this defs.yaml"
            error = SightlineError("there is no such monitor file", where=str(folder / pattern), fix=fix)
            broken.append(BrokenMonitor(folder / pattern, error))
        files |= dict.fromkeys(found)
    for path in files:
        try:
            spec = load_monitor(path, home=home, freeze=True)
            if spec.id in specs:
                what = f"a second file describes the monitor {spec.id!r}"
                raise SightlineError(what, where=str(path), fix="give one of them another model.id and file name")
            specs[spec.id] = spec
        except SightlineError as error:
            broken.append(BrokenMonitor(path, error))
        except Exception as error:  # a defect that one file brings to light must not stop the project
            what = f"the file cannot be read: {type(error).__name__}: {error}"
            broken.append(BrokenMonitor(path, SightlineError(what, where=str(path))))
    return dict(sorted(specs.items())), broken


def upstream_keys(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Keys of assets by feed.

    Raises
    ------
    SightlineError
        A feed has another name, or a key is empty.
    """
    for feed, keys in given.items():
        where = "attributes: upstream: of defs.yaml"
        if feed not in FEEDS:
            raise SightlineError(f"nothing lands for {feed!r}", where=where, fix=nearest(feed, list(FEEDS)))
        if isinstance(keys, str) or not all(isinstance(key, str) and all(key.split("/")) for key in keys):
            raise SightlineError(f"upstream of {feed} is no list of keys", where=where, fix="write [warehouse/scores]")
    return {feed: tuple(keys) for feed, keys in given.items()}

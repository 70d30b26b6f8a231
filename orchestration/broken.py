"""A monitor file that cannot be used, shown where its monitor would be."""

import logging

import dagster as dg

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec import names
from sightline.spec.loader import BrokenMonitor, load_monitor

GROUP = "broken_monitors"


def broken_monitor(home: Home, broken: BrokenMonitor) -> dg.Definitions:
    """An asset in the group `broken_monitors`: its description is the error; materializing it reads the file again."""
    logging.getLogger("sightline").error("monitor file left out: %s", broken.error)
    stem = broken.path.stem
    name = stem if names.is_exact(stem) else f"{names.slug(stem) or 'monitor'}_{names.digest(stem)}"

    @dg.asset(
        key=[GROUP, name],
        group_name=GROUP,
        kinds={"yaml"},
        description=(
            f"**{broken.path.name} is left out: it has a mistake.** The other monitors go "
            f"on.\n\n```\n{broken.error}\n```"
        ),
    )
    def monitor_file(context: dg.AssetExecutionContext) -> None:
        try:
            spec = load_monitor(broken.path, home=home)
        except SightlineError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        context.log.info(f"{broken.path.name} is valid now: reload the code location to see the assets of {spec.id}.")

    return dg.Definitions(assets=[monitor_file])

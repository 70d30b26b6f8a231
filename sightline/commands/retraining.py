"""``sightline retraining MONITOR``: how fast the model ages, whether and when a retraining pays."""

from __future__ import annotations

import sys

import click

from sightline.clock import utc_now
from sightline.home import Home
from sightline.spec.loader import find_monitor


@click.command()
@click.argument("monitor")
@click.option("--backtest", "with_backtest", is_flag=True, help="Train `retraining.estimator` at past moments first.")
@click.option("--format", "form", type=click.Choice(["table", "json", "markdown"]), default="table", show_default=True)
def command(monitor: str, with_backtest: bool, form: str) -> None:
    """Say how fast the model of MONITOR ages, what that costs, and whether and when a retraining pays.

    Versions that judged the same windows are compared (shadows, A/B tests, candidates), or with --backtest an estimator
    is trained at past moments on what was known then. Costs and values stand in the monitor's file (`retraining`). What
    cannot be said is said to be so, with the reason.

    Exit code: 0, or 2 for a mistake in the call, the file or the estimator.
    """
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    from sightline.retraining import render
    from sightline.retraining.advise import advise

    with click.progressbar(length=1, label="trainings", file=sys.stderr, hidden=not with_backtest) as bar:

        def tell(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        found = advise(spec, home.monitor(spec.id), now=utc_now(), with_backtest=with_backtest, tell=tell)
    told = {"json": render.to_json, "markdown": render.to_markdown}
    click.echo(told.get(form, render.to_table)(found))

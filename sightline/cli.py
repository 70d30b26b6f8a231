"""The command ``sightline``.

Each subcommand lives in ``sightline/commands/<name>.py`` as ``command`` and is imported only when called, so that
``sightline compare`` never imports Dagster.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click

import sightline
from sightline import commands
from sightline.errors import SightlineError, error_of_place


class LazyGroup(click.Group):
    """Finds its subcommands in the package ``sightline.commands`` by module name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the subcommands, sorted."""
        return sorted(m.name for m in pkgutil.iter_modules(commands.__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of this name; None if there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return importlib.import_module(f"sightline.commands.{cmd_name}").command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(sightline.__version__, prog_name="sightline")
def cli() -> None:
    """ML observability as software-defined assets."""


def main() -> None:
    """Entry point: a user's mistake, or a disk that takes nothing, is one clear message and exit code 2."""
    try:
        cli()
    except SightlineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if (told := error_of_place(error)) is None:
            raise
        click.echo(f"error: {told}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()

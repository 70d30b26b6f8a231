"""`sightline schema`: the JSON schema of a monitor file."""

from __future__ import annotations

import click

from sightline.home import Home
from sightline.spec.schema import SCHEMA_LINE, schema_text, write_schema


@click.command()
@click.option("--write", is_flag=True, help="Write it and those of alerts/*.yaml to schemas/ in the home folder.")
def command(write: bool) -> None:
    """Print the JSON schema of a monitor file, for editors and other tools."""
    if not write:
        click.echo(schema_text(), nl=False)
        return
    path = write_schema(Home.from_env().root / "schemas")
    click.echo(f"wrote {path}\nfirst line of a monitor file: {SCHEMA_LINE}")

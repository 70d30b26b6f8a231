"""Secrets by reference: `env:NAME` or `file:path`. What they hold is never written, logged or told."""

from __future__ import annotations

import os
from pathlib import Path

from sightline.errors import SightlineError
from sightline.home import Home

MAX_BYTES = 64 * 1024


def resolve(home: Home, channel: str, key: str, reference: str) -> str:
    """What a reference of a channel stands for; an address that is none is returned as it is.

    Parameters
    ----------
    home : Home
        Relative files are looked for from here.
    channel, key : str
        Named by errors.
    reference : str
        ``env:NAME``, ``file:path``, or an address.

    Returns
    -------
    str
        Without the line break at its end.

    Raises
    ------
    SightlineError
        The variable is not set, the file cannot be read, or it is empty.
    """
    kind, _, name = reference.partition(":")
    where = f"alerts/routes.yaml: channels.{channel}.{key}"
    if kind == "env":
        value = os.environ.get(name)
        if value is None:
            fix = f"set {name} where alerts are sent (`sightline alerts send`, the collector, Dagster)"
            raise SightlineError(f"the environment variable {name} is not set", where=where, fix=fix)
    elif kind == "file":
        value = _read(home.root / Path(name).expanduser(), name, where)
    else:
        return reference
    value = value.strip("\r\n")
    if not value:
        raise SightlineError(f"{reference} is empty", where=where, fix="put the secret there")
    return value


def _read(path: Path, name: str, where: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SightlineError(f"{name} is larger than {MAX_BYTES} bytes", where=where, fix="name the secret's file")
        return content.decode()
    except OSError as error:
        fix = "see that the file is there and may be read"
        raise SightlineError(f"cannot read {name}: {error.strerror}", where=where, fix=fix) from None
    except UnicodeDecodeError:
        raise SightlineError(f"{name} is not UTF-8", where=where, fix="save it as UTF-8") from None

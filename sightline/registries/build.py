"""The registry that a monitor's file names."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.registries.http import Server
from sightline.registries.mlflow import MLflow
from sightline.registries.protocol import Registry
from sightline.spec.model import MonitorSpec
from sightline.user_metrics.python_functions import load
from sightline.user_metrics.python_metrics import importable

METHODS = ("versions", "evaluation_set", "write_verdict")


@contextmanager
def registry_of(spec: MonitorSpec, home: Home) -> Generator[Registry]:
    """The registry of a monitor; modules of the home folder can be imported within.

    Raises
    ------
    SightlineError
        The file names none, a secret is not set, or the function does not return a registry.
    """
    given = spec.registry
    if given is None:
        raise SightlineError(f"{spec.id} has no registry", where=f"monitors/{spec.id}.yaml", fix="add `registry:`")
    with importable(home.root):
        if given.python is not None:
            found = load(given.python)(spec)
            lacking = [name for name in METHODS if not callable(getattr(found, name, None))]
            if lacking:
                what = f"what {given.python} returns has no method {lacking[0]!r}"
                raise SightlineError(what, where="registry.python", fix="see docs/registries.md")
            yield cast("Registry", found)
            return
        server = Server(given.url or "", _secret(given.token_env))
        yield MLflow(server, given.model or spec.id, given.artifact, given.passed_alias)


def _secret(name: str | None) -> str | None:
    if name is None:
        return None
    value = os.environ.get(name, "").strip()
    if not value:
        fix = f"set {name} where Dagster (or `sightline registry`) runs"
        raise SightlineError(f"the environment variable {name} is not set", where="registry.token_env", fix=fix)
    return value

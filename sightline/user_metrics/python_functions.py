"""Functions of the user's that are named by ``module:function``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from sightline.errors import SightlineError
from sightline.user_metrics.python_metrics import brief


def load(path: str) -> Callable[..., Any]:
    """The function behind ``package.module:function``; call it within `importable`.

    Raises
    ------
    SightlineError
        The module cannot be imported, or has no such function.
    """
    module_name, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name, None)
    except (Exception, SystemExit) as error:  # the user's module may raise anything while it is imported
        what = f"module {module_name} cannot be imported ({type(error).__name__}: {brief(error)})"
        fix = f"put {module_name.replace('.', '/')}.py into the home folder (beside monitors/), or install it"
        raise SightlineError(what, fix=fix) from error
    if not callable(function):
        raise SightlineError(f"module {module_name} has no function {name!r}", fix="correct the name")
    return function

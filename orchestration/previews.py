"""Dagster's features that are called beta or preview and are used on purpose: the pins in pyproject.toml hold them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


@contextmanager
def without_preview_warnings() -> Iterator[None]:
    """Keep Dagster's words about them away while our own definitions are built; the user's own are told as ever."""
    with warnings.catch_warnings():
        for category in (dg.BetaWarning, dg.PreviewWarning):
            warnings.filterwarnings("ignore", category=category)
        yield

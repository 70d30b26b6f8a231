"""A home and a monitor for every level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from sightline.home import Home
from sightline.spec.model import MonitorSpec

settings.register_profile("repeatable", derandomize=True, deadline=None)  # a test has one seed
settings.load_profile("repeatable")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home folder."""
    return Home(tmp_path)


@pytest.fixture
def make_spec() -> Callable[..., MonitorSpec]:
    """A small valid binary monitor; keyword arguments replace sections."""

    def make(**sections: Any) -> MonitorSpec:
        base = {
            "model": {"id": "churn", "task": "binary_classification", "owner": "ml@example.com"},
            "columns": {"score": "p", "features": {"age": {"kind": "numeric"}}},
            "labels": {"column": "churned", "expected_delay": "1d"},
            "reference": {"kind": "window", "start": "2026-01-01", "end": "2026-01-11"},
        }
        return MonitorSpec.model_validate({**base, **sections})

    return make

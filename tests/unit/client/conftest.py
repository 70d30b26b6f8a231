"""Retries that take no time."""

from __future__ import annotations

import pytest
from sightline_client import worker as client_worker


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """Short waits between attempts."""
    monkeypatch.setattr(client_worker, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(client_worker, "MAX_BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(client_worker, "ORPHAN_CHECK_SECONDS", 0.05)

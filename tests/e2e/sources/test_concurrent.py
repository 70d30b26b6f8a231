"""Several processes fetch and load at once while others write: each row is in the lake once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.home import Home
from sightline.lake.store.ledger import open_ledger
from tests.e2e.sources.test_kills import ROOT, WAYS, start
from tests.support.lake import rows
from tests.support.postgres import PASSWORD
from tests.support.sources import ids, spec_of

pytestmark = pytest.mark.long


@pytest.mark.parametrize("way", WAYS)
def test_each_row_comes_once(
    way: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_SECRET", PASSWORD)
    make, fixture = WAYS[way]
    home = Home(tmp_path)
    source, write = make(home, request.getfixturevalue(fixture) if fixture else None, "concurrent")
    spec = spec_of(**source)
    file = tmp_path / "spec.json"
    file.write_text(spec.model_dump_json(exclude_unset=True))
    write(rows(100))
    command = [sys.executable, "-m", "tests.support.source_kills", str(tmp_path), str(file)]
    children = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(4)]
    for n in range(100, 300, 20):
        write(rows(20, first=n, seed=n))
    assert [child.wait(timeout=120) for child in children] == [0] * 4
    assert start(home, spec) == 0
    assert ids(spec, home) == sorted(f"id-{i}" for i in range(300))
    with open_ledger(home.monitor("m").ledger) as ledger:
        assert sum(batch.n_duplicate for batch in ledger.batches("inferences")) == 0

"""Words of libraries without secrets, frames in bounded batches, secrets out of the environment and out of files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.lake.fetch import reading
from sightline.lake.fetch.reading import batched, package, scrubbed, secret


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("login s3cret/x failed", ("s3cret/x",)),
        ("GET http://h/?key=s3cret%2Fx", ("s3cret/x",)),
        ("form s3cret+x%2F", ("s3cret x/",)),
        ("cannot connect to postgresql://u:s3cret@h/d", ()),
        ("password s3cret@x is wrong", ("postgresql://u:s3cret%40x@h:5432/d",)),
        ("dsn postgresql://u:s3cret%40x@h:5432/d", ("postgresql://u:s3cret%40x@h:5432/d",)),
        ("repr 's3cret\\\\n'", ("s3cret\\n",)),
    ],
)
def test_no_secret_is_left_in_a_text(text: str, secrets: tuple[str, ...]) -> None:
    assert "s3cret" not in scrubbed(text, secrets)
    assert "***" in scrubbed(text, secrets)


def test_batches_are_bounded_in_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [pl.DataFrame({"x": range(n)}) for n in (3, 0, 25, 1, 7)]
    monkeypatch.setattr(reading, "BATCH_ROWS", 10)
    assert [len(frame) for frame in batched(frames)] == [10, 10, 10, 6]
    monkeypatch.setattr(reading, "BATCH_BYTES", 8 * 4)
    assert max(len(frame) for frame in batched(frames)) <= 10
    assert sum(len(frame) for frame in batched(frames)) == 36


def test_a_secret_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    with pytest.raises(SightlineError, match="KEY is not set"):
        secret("KEY", where="here")
    assert secret("KEY", where="here", required=False) == ""
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(SightlineError, match="KEY_FILE cannot be read"):
        secret("KEY", where="here")
    (tmp_path / "key").write_text("value\n")
    assert secret("KEY", where="here") == "value"
    monkeypatch.setenv("KEY", "own")
    assert secret("KEY", where="here") == "own"


def test_a_package_that_lacks_names_its_extra() -> None:
    with pytest.raises(SightlineError, match=r"pip install 'sightline\[kafka\]'"):
        package("no_such_module_here", "kafka", "here")

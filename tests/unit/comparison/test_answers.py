"""`compare` measures the answers of a language model, by the code of a monitor's `columns.llm`."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from metrics_py import compare
from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.lake.intake.measured import measured

ROLES = {
    "response": "answer",
    "prompt": "question",
    "documents": "found",
    "finish_reason": "end",
    "output_tokens": "tokens",
    "latency_ms": "ms",
}


def calls(seed: int, n: int, *, cut: float = 0.02, refused: float = 0.02) -> pl.DataFrame:
    rng = np.random.default_rng([81, seed])
    said = [f"Take the {rng.choice(['red', 'blue', 'old'])} one of {rng.integers(10, 99)}." for _ in range(n)]
    said = ["I'm sorry, but I can't help with that." if rng.random() < refused else text for text in said]
    tokens = rng.integers(20, 60, n)
    return pl.DataFrame(
        {
            "question": [f"Which one do I take of {rng.integers(100)} please?" for _ in range(n)],
            "answer": said,
            "found": [[f"page {k}" for k in range(rng.integers(1, 4))] for _ in range(n)],
            "end": np.where(rng.random(n) < cut, "length", "stop"),
            "tokens": tokens,
            "ms": tokens * rng.normal(20, 2, n),
        }
    )


def test_measures_are_columns_and_those_that_changed_drift():
    result = compare(calls(0, 1_500), calls(1, 900, cut=0.3, refused=0.2), answers=ROLES)
    names = set(result.frame["column"])
    measures = {"is_refusal", "is_truncated", "is_empty", "ms_per_token", "prompt_overlap", "context_overlap"}
    assert names >= {f"answer.{measure}" for measure in measures} | {"found.count"}
    drifted = set(result.drifted)
    assert {"answer.is_refusal", "answer.is_truncated"} <= drifted
    assert not drifted & {"answer.is_empty", "answer.ms_per_token", "found.count", "answer.prompt_overlap"}
    assert dict(result.frame.select("column", "kind").rows())["answer"] == "text"
    quiet = compare(calls(0, 1_500), calls(2, 900), answers=ROLES)
    assert not [name for name in quiet.drifted if "." in name]


def test_the_values_are_those_of_a_monitor(make_spec):
    new = calls(1, 200, cut=0.3)
    spec = make_spec(
        model={"id": "m", "task": "text_generation"},
        columns={
            "prediction_id": "id",
            "timestamp": "at",
            "latency_ms": "ms",
            "score": None,
            "features": {},
            "llm": {role: name for role, name in ROLES.items() if role not in ("latency_ms", "documents")},
        },
        labels=None,
    )
    lake = {f"f_{name}": new[name] for name in ("question", "answer", "end")}
    lake |= {"f_tokens": new["tokens"].cast(pl.Float64), "latency_ms": new["ms"]}
    expected = measured(spec, lake)
    found = compare(calls(0, 200), new, answers=ROLES, metrics=["psi"]).bins
    for name in ("answer.is_truncated", "answer.is_refusal"):
        true = found.filter(column=name, label="true")["n_current"].item()
        assert true == expected[f"f_{name}"].sum()


def test_the_command_names_roles(tmp_path):
    for name, frame in (("old", calls(0, 400)), ("new", calls(1, 400, cut=0.5))):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    files = [str(tmp_path / "old.parquet"), str(tmp_path / "new.parquet")]
    roles = [item for role in ("response", "finish_reason") for item in ("--llm", f"{role}={ROLES[role]}")]
    done = CliRunner().invoke(cli, ["compare", *files, *roles])
    assert done.exit_code == 1
    assert "answer.is_truncated" in done.output
    wrong = CliRunner().invoke(cli, ["compare", *files, "--llm", "answer"])
    assert isinstance(wrong.exception, SightlineError)
    assert wrong.exception.fix == "write --llm ROLE=COLUMN, e.g. response=answer"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"prompt": "question"}, "name the column of the answers as response"),
        ({"response": "reply"}, "the reference has no column 'reply' to be response"),
        ({"response": "answer", "reply": "end"}, "there is no part 'reply'; one of response, prompt"),
    ],
)
def test_a_part_that_cannot_be_is_refused(answers, message):
    with pytest.raises(ValueError, match=message):
        compare(calls(0, 60), calls(1, 60), answers=answers)


def test_a_column_that_is_gone_takes_its_measures_along():
    result = compare(calls(0, 400), calls(1, 400).drop("end"), answers=ROLES)
    states = {row["column"]: (row["state"], row["reason"]) for row in result.to_dicts()}
    assert states["answer.is_truncated"] == ("drift", "the column is missing in the current table")

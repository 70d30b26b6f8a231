"""Failures of somebody's function over rows are told without what the rows say."""

from __future__ import annotations

import json

import polars as pl
import pytest

from metrics_py.failures import AnswerError, told_failure
from metrics_py.multivariate.text_vectors import embed_texts
from metrics_py.text.descriptors import OwnDescriptor, describe

SECRET = "card 4111 1111 1111 1111 of Ada"


def caught(function, *given):
    with pytest.raises(BaseException) as found:
        function(*given)
    return found.value


@pytest.mark.parametrize(
    "function",
    [float, lambda text: {}[text], json.loads, lambda text: pl.Series([text]).str.to_integer(strict=True), exec],
)
def test_no_words_of_a_row_are_told(function):
    told = told_failure(caught(function, SECRET))
    assert "Ada" not in told and "4111" not in told
    assert told.partition(" ")[2].startswith("in line ") and told.endswith(" of test_failures.py")


def test_names_of_the_code_are_told_with_their_place():
    error = caught(lambda: pl.DataFrame({"a": [1]}).select("amuont"))
    assert told_failure(error).startswith("ColumnNotFoundError in line ") and "amuont" in told_failure(error)
    assert "no_such_module" in told_failure(caught(lambda: __import__("no_such_module")))
    assert told_failure(AnswerError("3 values for 2 texts")) == "3 values for 2 texts"


def test_functions_over_texts_are_told_of_so():
    def fails(texts):
        return [float(text) for text in texts]

    texts = pl.Series("note", [SECRET, SECRET])
    assert "Ada" not in str(embed_texts(fails, texts).failed)
    failed: dict[str, str] = {}
    own = OwnDescriptor("number", kind="numeric", function=fails)
    describe(texts, [own], failed)
    [told] = failed.values()
    assert told.startswith("ValueError in line ") and "Ada" not in told

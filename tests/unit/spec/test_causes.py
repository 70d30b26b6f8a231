"""`importance:` and `upstream:` of a monitor's file."""

from __future__ import annotations

import pytest

from sightline.spec.rules import problems


@pytest.mark.parametrize(
    ("sections", "what"),
    [
        ({"importance": {"agee": 1}}, "'agee' is no feature"),
        ({"importance": {"age": -1}}, "the importance -1 is negative"),
        ({"importance": {"age": float("inf")}}, "infinite"),
        ({"upstream": ["warehouse//orders"]}, "is no key of an asset"),
        ({"upstream": ["churn/inferences"]}, "is an asset of this monitor itself"),
        ({"upstream": ["a", "a"]}, "is named 2 times"),
    ],
)
def test_what_means_nothing_is_refused(make_spec, sections, what):
    assert any(what in problem.what for problem in problems(make_spec(**sections)))


def test_weights_and_keys_are_taken(make_spec):
    assert not problems(make_spec(importance={"age": 0}, upstream=["warehouse/orders", "clock"]))

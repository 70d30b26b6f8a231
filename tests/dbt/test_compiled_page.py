"""The page of compiled SQL is what the models make."""

from __future__ import annotations

import re

from tests.dbt.compiled_page import PAGE, compiled_page
from tests.dbt.support import PROJECT


def test_the_page_in_the_tree_is_current():
    assert PAGE.read_text(encoding="utf-8") == compiled_page(), "run `python -m tests.dbt.compiled_page`"


def test_every_generator_says_what_it_makes():
    for file in (PROJECT / "models").rglob("*.sql"):
        text = file.read_text(encoding="utf-8")
        if re.search(r"\{%-? *for ", text):
            assert "{# Makes: " in text, file.name

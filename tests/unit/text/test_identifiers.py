"""Personal data in texts: what is one, what only looks like one."""

from __future__ import annotations

import time

import polars as pl
import pytest

from metrics_py.text import identifiers


def found(function, text: str) -> bool:
    return function(pl.Series([text])).to_list()[0]


@pytest.mark.parametrize(
    ("function", "text", "expected"),
    [
        (identifiers.emails, "write to jo.doe+x@mail.example.org!", True),
        (identifiers.emails, "a @ b, a@b, @handle", False),
        (identifiers.urls, "see www.example.org/x?y=1", True),
        (identifiers.urls, "see HTTPS://EXAMPLE.ORG", True),
        (identifiers.urls, "http is a protocol", False),
        (identifiers.card_numbers, "card 4111-1111-1111-1111.", True),
        (identifiers.card_numbers, "card 378282246310005", True),
        (identifiers.card_numbers, "card 4111 1111 1111 1112", False),
        (identifiers.card_numbers, "order 000000000000000", False),
        (identifiers.card_numbers, "123", False),
        (identifiers.ibans, "DE89 3704 0044 0532 0130 00 AND MORE", True),
        (identifiers.ibans, "GB82WEST12345698765432", True),
        (identifiers.ibans, "DE89370400440532013001", False),
        (identifiers.ibans, "ZZ89370400440532013000", False),
        (identifiers.ip_addresses, "from 10.0.0.1.", True),
        (identifiers.ip_addresses, "from 2001:db8::ff00:42:8329", True),
        (identifiers.ip_addresses, "at 10:30 or 10:30:15, 1.2.3, 999.1.1.1", False),
        (identifiers.phone_numbers, "call +49 30 901820 now", True),
        (identifiers.phone_numbers, "call 0049 30 901820", True),
        (identifiers.phone_numbers, "call +1 23", False),
        (identifiers.personal, "nothing here 12345", False),
        (identifiers.personal, "10.0.0.1", True),
    ],
)
def test_examples(function, text, expected):
    assert found(function, text) is expected


def test_nulls_stay_null():
    texts = pl.Series([None, "4111111111111111", None], dtype=pl.String)
    assert identifiers.card_numbers(texts).to_list() == [None, True, None]
    assert identifiers.personal(texts).to_list() == [None, True, None]


def test_hostile_texts_take_linear_time():
    """What makes backtracking engines hang, and 20,000 characters of candidates."""
    hostile = [
        "a" * 20_000 + "!",
        "1" * 20_000,
        "AB12" * 5_000,
        "+1 " * 6_000,
        "." * 20_000,
        ":" * 20_000,
        "a@" * 9_999,
    ]
    start = time.process_time()
    identifiers.personal(pl.Series(hostile * 20))
    assert time.process_time() - start < 20

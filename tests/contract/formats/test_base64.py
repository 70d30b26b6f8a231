"""Base64 is read in steps: the bytes are those of one call, and what one strict call refuses is refused."""

from __future__ import annotations

import base64
import binascii
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.collector.formats import bodies
from sightline.errors import SightlineError

WHOLE = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
"""RFC 4648, section 4."""


@pytest.fixture(autouse=True, scope="module")
def short_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "BASE64_STEP", 8)
        yield


@given(st.binary(max_size=100))
def test_what_was_encoded_comes_back(data):
    assert bodies.decode_base64(base64.b64encode(data).decode(), "data") == data


@given(st.text("Ab+/=é \n", max_size=24))
def test_a_text_is_read_as_the_standard_says_or_refused(text):
    if WHOLE.fullmatch(text):
        assert bodies.decode_base64(text, "data") == base64.b64decode(text, validate=True)
    else:
        with pytest.raises(SightlineError, match="not base64"):
            bodies.decode_base64(text, "data")


@pytest.mark.parametrize("text", ["AAAA====AAAA", "AA==AAAAAAAA", "AAAAAAAAA", "AAA\0", "\u00e9AAA"])
def test_padding_within_and_parts_of_a_text_are_refused(text):
    with pytest.raises(SightlineError, match="not base64") as refused:
        bodies.decode_base64(text, "data")
    assert isinstance(refused.value.__cause__, binascii.Error | ValueError)

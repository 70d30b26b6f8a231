"""Request and response bodies of model servers as plain rows (dicts), whatever envelope they came in.

A body is one of: Open Inference Protocol v2 (``inputs`` / ``outputs`` tensors), its older v1 (``instances`` /
``predictions``), MLflow (``dataframe_split``, ``dataframe_records``, ``inputs``), or a plain object or array of objects.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sightline.errors import SightlineError

Row = dict[str, Any]
UNNAMED = "@{}"  # name of the i-th value of a row that came without names


def decode_json(body: bytes | str, where: str) -> Any:
    """Decode JSON; a broken document is an error that names the place."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SightlineError(
            f"the body is no JSON: {error}", where=where, fix="send a JSON document in UTF-8"
        ) from error


def request_rows(body: Any, where: str) -> list[Row]:
    """Rows of model inputs.

    Raises
    ------
    SightlineError
        The body has none of the known shapes, or its parts disagree in length.
    """
    if isinstance(body, Mapping):
        if "dataframe_split" in body:
            return _split(body["dataframe_split"], f"{where}.dataframe_split")
        if "dataframe_records" in body:
            return [
                _row(r, f"{where}.dataframe_records[{i}]")
                for i, r in enumerate(_list(body["dataframe_records"], f"{where}.dataframe_records"))
            ]
        if "instances" in body:
            return [
                _row(r, f"{where}.instances[{i}]") for i, r in enumerate(_list(body["instances"], f"{where}.instances"))
            ]
        if "inputs" in body:
            return _inputs(body["inputs"], f"{where}.inputs")
        return [dict(body)]
    if isinstance(body, list):
        return [_row(r, f"{where}[{i}]") for i, r in enumerate(body)]
    raise SightlineError(
        f"a body of type {type(body).__name__} holds no model inputs",
        where=where,
        fix="send `inputs`, `instances`, `dataframe_split`, `dataframe_records` or objects",
    )


def response_rows(body: Any, where: str) -> list[Row]:
    """Rows of model outputs; a bare value becomes ``{"@0": value}``."""
    if isinstance(body, Mapping):
        if "outputs" in body and _is_tensors(body["outputs"]):
            return _tensors(body["outputs"], f"{where}.outputs")
        for key in ("predictions", "outputs"):
            if key in body:
                return _predictions(body[key], f"{where}.{key}")
        return [dict(body)]
    if isinstance(body, list):
        return _predictions(body, where)
    return [_row(body, where)]


def csv_rows(text: str) -> list[Row]:
    """Rows of header-less CSV (SageMaker built-in containers): unnamed values, numbers parsed."""
    return [
        {UNNAMED.format(i): _number(v) for i, v in enumerate(line)} for line in csv.reader(io.StringIO(text)) if line
    ]


def decode_base64(text: str, where: str) -> bytes:
    """Decode base64 strictly."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SightlineError(f"not base64: {error}", where=where) from error


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise SightlineError(f"expected an array, found {type(value).__name__}", where=where)
    return value


def _row(value: Any, where: str) -> Row:
    """One row: an object as it is, an array by position (also as ``{"features": [...]}``), a bare value as the only one."""
    if isinstance(value, Mapping):
        if len(value) == 1 and isinstance(value.get("features"), list | Mapping):
            return _row(value["features"], where)
        return dict(value)
    if isinstance(value, list):
        return {UNNAMED.format(i): v for i, v in enumerate(value)}
    if value is None:
        raise SightlineError("a row is null", where=where)
    return {UNNAMED.format(0): value}


def _predictions(value: Any, where: str) -> list[Row]:
    if isinstance(value, Mapping):  # {"score": [..], "label": [..]}: columns
        return _columns(value, where)
    if isinstance(value, list):
        return [_row(v, f"{where}[{i}]") for i, v in enumerate(value)]
    return [_row(value, where)]


def _columns(value: Mapping[str, Any], where: str) -> list[Row]:
    lists = {name: v if isinstance(v, list) else [v] for name, v in value.items()}
    lengths = {len(v) for v in lists.values()}
    if len(lengths) > 1:
        raise SightlineError(f"the columns differ in length: { {n: len(v) for n, v in lists.items()} }", where=where)
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _split(value: Any, where: str) -> list[Row]:
    if not isinstance(value, Mapping) or "data" not in value:
        raise SightlineError("expected an object with `columns` and `data`", where=where)
    data = [_list(r, f"{where}.data[{i}]") for i, r in enumerate(_list(value["data"], f"{where}.data"))]
    columns = [
        str(c)
        for c in _list(
            value.get("columns") or [UNNAMED.format(i) for i in range(len(data[0]) if data else 0)], f"{where}.columns"
        )
    ]
    for i, row in enumerate(data):
        if len(row) != len(columns):
            raise SightlineError(f"a row of {len(row)} values under {len(columns)} columns", where=f"{where}.data[{i}]")
    return [dict(zip(columns, row, strict=True)) for row in data]


def _is_tensors(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(t, Mapping) and {"name", "shape"} <= set(t) for t in value)
    )


def _inputs(value: Any, where: str) -> list[Row]:
    if _is_tensors(value):
        return _tensors(value, where)
    if isinstance(value, Mapping):
        return _columns(value, where)
    return [_row(v, f"{where}[{i}]") for i, v in enumerate(_list(value, where))]


def _tensors(tensors: Sequence[Mapping[str, Any]], where: str) -> list[Row]:
    """Open Inference Protocol v2 tensors -> rows along the first axis.

    A tensor of shape ``[n]`` or ``[n, 1]`` is one value a row under its own name; ``[n, k]`` is a list a row, named by
    position when it is the only tensor (a feature matrix), else kept as a list under its name (an embedding).
    """
    columns: dict[str, list[Any]] = {}
    for i, tensor in enumerate(tensors):
        place = f"{where}[{i}]"
        columns[str(tensor["name"])] = _tensor_values(tensor, place)
    lengths = {len(v) for v in columns.values()}
    if len(lengths) > 1:
        raise SightlineError(
            f"the tensors differ in their first dimension: { {n: len(v) for n, v in columns.items()} }", where=where
        )
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if len(columns) == 1:
        (name,) = columns
        return [_row(r[name], where) if isinstance(r[name], list) else r for r in rows]
    return rows


def _tensor_values(tensor: Mapping[str, Any], where: str) -> list[Any]:
    shape = _list(tensor["shape"], f"{where}.shape")
    if not shape or not all(isinstance(d, int) and not isinstance(d, bool) and d >= 0 for d in shape):
        raise SightlineError(f"shape {shape!r} is no array of non-negative integers", where=f"{where}.shape")
    if "data" not in tensor:
        raise SightlineError(
            "the tensor has no `data` (binary tensor extension is not supported)",
            where=where,
            fix="send the tensor as JSON",
        )
    flat: list[Any] = []
    _flatten(_list(tensor["data"], f"{where}.data"), flat)
    if len(flat) != math.prod(shape):
        raise SightlineError(f"{len(flat)} values do not fill the shape {shape}", where=f"{where}.data")
    width = math.prod(shape[1:]) if len(shape) > 1 else 1
    if width == 0 and shape[0]:
        raise SightlineError(f"a tensor of shape {shape} holds rows without values", where=f"{where}.shape")
    if width == 1:
        return flat
    return [flat[i * width : (i + 1) * width] for i in range(shape[0])]


def _flatten(value: list[Any], into: list[Any]) -> None:
    stack = [iter(value)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            into.append(item)
        else:
            stack.pop()

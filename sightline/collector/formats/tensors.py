"""Tensors of the Open Inference Protocol v2, in JSON or as bytes after it (its binary tensor data extension).

Bytes are little-endian and in row-major order; texts (``BYTES``) are each preceded by their length as u32.
Triton's client sends all tensors so unless told otherwise, and payload loggers hand on the body without the header
that tells how long its JSON is.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.collector.formats import lenient
from sightline.errors import SightlineError
from sightline.narrowing import is_array, is_object

LENGTH_HEADER = "inference-header-content-length"
NUMBERS = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BF16": "<u2",
}  # fmt: skip
"""NumPy's names of the data types (BF16: the upper half of an FP32)."""
REAL = {"FP16", "FP32", "FP64", "BF16"}

_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)


def is_tensors(value: Any) -> bool:
    """Whether this is the list of tensors of a request or response."""
    return is_array(value) and bool(value) and all(is_object(t) and {"name", "shape"} <= t.keys() for t in value)


def columns(tensors: Sequence[Mapping[str, Any]], where: str) -> dict[str, list[Any]]:
    """Values by name of tensor, one per row (the first axis).

    A tensor of shape ``[n]`` or ``[n, 1]`` gives one value a row, ``[n, k]`` a list a row (an embedding). Whole numbers
    of a type with fractions are floats: many senders write 1.0 as 1.

    Raises
    ------
    SightlineError
        A tensor has no data, or other data than its shape says.
    """
    check_names([str(t["name"]) for t in tensors], where)
    return {
        str(t["name"]): rows_of_shape(t, "data", f"{where}[{i}]", is_real=str(t.get("datatype")).upper() in REAL)
        for i, t in enumerate(tensors)
    }


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse names that occur twice: one of the values would be lost.

    Raises
    ------
    SightlineError
        With the first of them.
    """
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise SightlineError(f"the column name {twice!r} occurs twice", where=where, fix="name each column once")


def rows_of_shape(tensor: Any, field: str, where: str, *, is_real: bool = False) -> list[Any]:
    """The values in `field` of a tensor, cut into rows by its ``shape``; `is_real`: its numbers are no whole ones."""
    if not is_object(tensor) or not is_array(tensor.get(field)):
        raise SightlineError(
            f"the tensor has no array `{field}`", where=where, fix="send the values as JSON, or as bytes"
        )
    shape = tensor.get("shape")
    if not is_array(shape) or not shape or not all(_is_count(d) for d in shape):
        raise SightlineError(f"shape {shape!r:.80} is no array of non-negative integers", where=f"{where}.shape")
    flat: list[Any] = []
    _flatten(tensor[field], flat)
    if len(flat) != math.prod(shape):
        raise SightlineError(f"{len(flat)} values do not fill the shape {shape!r:.80}", where=f"{where}.{field}")
    if is_real:
        flat = [as_real(value) for value in flat]
    width = math.prod(shape[1:])
    if width == 0 and shape[0]:
        raise SightlineError(f"a tensor of shape {shape!r:.80} holds rows without values", where=f"{where}.shape")
    if width == 1:
        return flat
    lenient.check_rows(shape[0], where)
    return [flat[i * width : (i + 1) * width] for i in range(shape[0])]


def as_real(value: Any) -> Any:
    """A whole number as a float, beyond a double as infinity; all else as it is."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def end_of_json(body: bytes, where: str, json_length: str | None = None) -> int:
    """Where the JSON of a body ends and the bytes of tensors begin.

    It is what its header says, else where an object with such tensors ends.

    Raises
    ------
    SightlineError
        The header is no length within the body.
    """
    if json_length is not None:
        length = int(json_length) if json_length.isascii() and json_length.isdigit() and len(json_length) < 12 else 0
        if not 0 < length <= len(body):
            what = f"{LENGTH_HEADER} {json_length[:40]!r} is no length within the {len(body)} bytes of the body"
            raise SightlineError(what, where=where)
        return length
    if body[:1] != b"{" or b'"binary_data_size"' not in body:
        return len(body)
    try:
        return _SCANNER.raw_decode(body.decode("latin-1"))[1]  # one character a byte: only the place counts
    except (ValueError, RecursionError):
        return len(body)


def with_binary_data(document: Any, data: bytes, where: str) -> Any:
    """The document with the bytes after it as ``data`` of its tensors.

    Those are meant that have a ``binary_data_size``, in their order.
    """
    name = next((k for k in ("inputs", "outputs") if is_object(document) and is_tensors(document.get(k))), None)
    if name is None:
        raise SightlineError("bytes follow a JSON document without tensors", where=where)
    found: list[Any] = []
    position = 0
    for i, tensor in enumerate(document[name]):
        parameters = tensor.get("parameters")
        size = parameters.get("binary_data_size") if is_object(parameters) else None
        if size is None:
            found.append(tensor)
            continue
        place = f"{where}.{name}[{i}]"
        if not _is_count(size) or position + size > len(data):
            raise SightlineError(f"binary_data_size {size!r:.40} goes beyond the body", where=place)
        found.append({**tensor, "data": _values(tensor.get("datatype"), data[position : position + size], place)})
        position += size
    if position != len(data):
        raise SightlineError(f"{len(data) - position} bytes belong to no tensor", where=where)
    return {**document, name: found}


def _values(datatype: Any, data: bytes, where: str) -> list[Any]:
    if datatype == "BYTES":
        return _texts(data, where)
    if datatype not in NUMBERS:
        raise SightlineError(f"datatype {datatype!r:.40} is not known", where=f"{where}.datatype")
    import numpy as np

    kind = np.dtype(NUMBERS[datatype])
    if len(data) % kind.itemsize:
        raise SightlineError(f"{len(data)} bytes are no whole number of {datatype}", where=where)
    values = np.frombuffer(data, kind)
    if len(values) > lenient.MAX_VALUES:
        raise lenient.TooMuchError(f"{len(values)} values; at most {lenient.MAX_VALUES}", where)
    if datatype == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    return values.tolist()


def _texts(data: bytes, where: str) -> list[str]:
    texts: list[str] = []
    position = 0
    while position < len(data):
        if len(texts) > lenient.MAX_VALUES:
            raise lenient.TooMuchError(f"more than {lenient.MAX_VALUES} values", where)
        start = position + 4
        position = start + struct.unpack_from("<I", data, position)[0] if start <= len(data) else len(data) + 1
        if position > len(data):
            raise SightlineError("a text goes beyond the data of its tensor", where=where)
        try:
            texts.append(data[start:position].decode())
        except UnicodeDecodeError as error:
            raise SightlineError(f"a value of type BYTES is no text in UTF-8: {error.reason}", where=where) from None
    return texts


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _flatten(value: list[Any], into: list[Any]) -> None:
    stack = [iter(value)]
    while stack:
        for item in stack[-1]:
            if is_array(item):
                stack.append(iter(item))
                break
            into.append(item)
        else:
            stack.pop()

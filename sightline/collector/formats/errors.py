"""Answers of a server that failed: a document about the error stands where predictions would.

KServe and Triton answer ``{"error": ...}``, FastAPI ``{"detail": ...}``, MLflow ``{"error_code": ..., "message":
...}``, SageMaker ``{"ErrorCode": ...}``, gateways ``{"message": ...}`` or plain text, Seldon a ``status`` of its own;
a row of a batch may fail alone. None of them is a class that a model predicted.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sightline.narrowing import is_array, is_object
from sightline.spec.model import MonitorSpec

SIGNS = frozenset({"err", "detail", "exception", "fault", "faultstring", "traceback", "stacktrace", "message", "msg"})
"""Names that with a text, an object or an array make a document an error, as does one that begins with ``error``.

They are written without case, underscores and hyphens.
"""
NUMBERED = frozenset({"error", "errorcode", "err"})
"""Those of which a whole number is one too; a fraction (a reconstruction's error) never is."""
OUTCOMES = frozenset({"success", "succeeded", "ok"})
"""Names that make a document an error by ``false``, unless they stand alone: then it is what a model predicted.

So it is with a ``status`` or a ``fault`` in words.
"""
STATUSES = frozenset({"status", "statuscode", "httpstatus", "httpstatuscode"})
FAILURES = frozenset({"error", "fail", "failed", "failure"})
ANSWERS = ("predictions", "outputs", "data", "jsonData", "strData", "binData")
"""Envelopes of predictions, whose rows are looked at one by one."""
CODES = ("statuscode", "originalstatuscode", "code", "status", "httpstatus", "httpstatuscode")
FAILED = "error"
"""Status of a failed call whose number is not known."""
PHRASES = {
    status.phrase.lower(): status.value
    for status in HTTPStatus
    if " " in status.phrase and (status >= 500 or status in (400, 408, 413, 415, 422, 429))
}
"""Texts of HTTP that no class is called."""
NUMBERED_PHRASE = re.compile(r"(?:http(?:/[\d.]+)?\s+)?([45]\d\d)\b[\s:.-]*[a-z ]+", re.IGNORECASE)
MARKUP = re.compile(r"<(!doctype|html|\?xml)|traceback \(most recent call", re.IGNORECASE)


def failure(body: Any, spec: MonitorSpec, *, may_be_text: bool = False) -> int | str | None:
    """Status of the call that a body answers with an error: its HTTP status, or ``error``; None if it is an answer.

    An object is an error if it bears a sign of one and no output of the monitor holds a value, whatever stands beside.

    Parameters
    ----------
    body : object
        The decoded response, or one row of it.
    spec : MonitorSpec
        Its names of outputs are never taken for signs of an error.
    may_be_text : bool
        A bare text may be the class that the model predicted; in protocols that answer with objects it is an error.
    """
    if isinstance(body, str):
        return _of_text(body, spec, may_be_text=may_be_text)
    if is_array(body) and len(body) == 1:
        body = body[0]
    return _of_object(body, spec) if is_object(body) else None


def _of_object(body: Mapping[str, Any], spec: MonitorSpec) -> int | str | None:
    names = {re.sub("[_-]", "", name.lower()): value for name, value in body.items()}
    status = body.get("status")
    if is_object(status) and str(status.get("status", "")).upper() == "FAILURE":  # Seldon
        return _code(status)
    columns = spec.columns
    outputs = {columns.score, columns.prediction, *columns.class_scores.values()}
    if any(_holds(value) for name, value in body.items() if name in outputs or _is_answer(name, value)):
        return None
    if len(body) == 1 and set(map(str, body.values())) & _classes(spec):  # an output under the server's own name
        return None
    return _code(names) if any(_is_sign(name, value, len(body)) for name, value in names.items()) else None


def _classes(spec: MonitorSpec) -> set[str]:
    """Classes that the monitor's file names."""
    return {spec.positive_class, *spec.negative_classes, *spec.columns.class_scores}


def _is_answer(name: str, value: Any) -> bool:
    if name == "data":  # Seldon's; others put details of an error there
        return is_object(value) and bool({"ndarray", "tensor", "tftensor"} & value.keys())
    return name in ANSWERS


def _holds(value: Any) -> bool:
    return any(_holds(item) for item in value) if is_array(value) else value is not None


def _is_sign(name: str, value: Any, n_names: int) -> bool:
    if name in OUTCOMES:
        return value is False and n_names > 1
    if name in STATUSES:
        return (n_names > 1 and str(value).strip().lower() in FAILURES) or _http_status(value) is not None
    if name == "fault" and n_names == 1:
        return is_object(value)
    if name not in SIGNS and not name.startswith("error"):
        return False
    if isinstance(value, int) and not isinstance(value, bool):
        return value != 0 and name in NUMBERED
    return value is True or ((isinstance(value, str) or is_object(value) or is_array(value)) and len(value) > 0)


def _of_text(text: str, spec: MonitorSpec, *, may_be_text: bool) -> int | str | None:
    plain = text.strip()
    if plain in _classes(spec):
        return None
    with contextlib.suppress(ValueError):
        float(plain)
        return None
    if plain.lower() in PHRASES:
        return PHRASES[plain.lower()]
    if found := NUMBERED_PHRASE.fullmatch(plain):
        return int(found[1])
    task = spec.model.task
    is_class = spec.columns.prediction is not None and task in ("binary_classification", "multiclass_classification")
    return None if may_be_text and is_class and plain and not MARKUP.match(plain) else FAILED


def _http_status(value: Any) -> int | None:
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if re.fullmatch("[45][0-9][0-9]", text) else None


def _code(names: Mapping[str, Any]) -> int | str:
    return next((code for name in CODES if (code := _http_status(names.get(name))) is not None), FAILED)

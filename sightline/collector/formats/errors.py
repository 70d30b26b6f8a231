"""Answers of a server that failed: a document about the error stands where predictions would.

KServe and Triton answer ``{"error": ...}``, FastAPI ``{"detail": ...}``, MLflow ``{"error_code": ..., "message":
...}``, SageMaker ``{"ErrorCode": ...}``, Seldon a ``status`` of its own. None of them is a class that a model
predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.narrowing import is_object
from sightline.spec.model import MonitorSpec

SIGNS = frozenset({"error", "errors", "detail", "errorcode", "errormessage", "exception", "fault"})
"""Names of which one makes a document an error, written without case and underscores."""
BESIDES = frozenset(
    (
        "message", "msg", "code", "status", "statuscode", "reason", "info", "details", "stacktrace", "traceback",
        "trace", "id", "requestid", "modelname", "modelversion", "timestamp", "path", "title", "type", "instance",
        "success",
        "originalmessage", "originalstatuscode", "logstreamarn",
    )
)  # fmt: skip
"""What may stand beside them."""
CODES = ("statuscode", "originalstatuscode", "code", "status")
FAILED = "error"
"""Status of a failed call whose number is not known."""


def failure(body: Any, spec: MonitorSpec) -> int | str | None:
    """Status of the call that a body answers with an error: its HTTP status, or ``error``; None if it is an answer.

    Parameters
    ----------
    body : object
        The decoded response.
    spec : MonitorSpec
        Its names of outputs are never taken for signs of an error.
    """
    if not is_object(body):
        return None
    columns = spec.columns
    outputs = {columns.score, columns.prediction, *columns.class_scores.values()}
    names = {name.lower().replace("_", ""): value for name, value in body.items()}
    status = body.get("status")
    if is_object(status) and str(status.get("status", "")).upper() == "FAILURE":  # Seldon
        return _code(status)
    if not names or outputs & body.keys() or not any(names.get(sign) for sign in SIGNS):
        return None
    return _code(names) if names.keys() <= SIGNS | BESIDES else None


def _code(names: Mapping[str, Any]) -> int | str:
    for name in CODES:
        value = names.get(name)
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if text.isdigit() and 400 <= int(text[:4]) < 600:
            return int(text)
    return FAILED

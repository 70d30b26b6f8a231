"""Queue entries to rows of the wire format. Runs on the client's thread."""

from __future__ import annotations

import logging
from typing import Any

from sightline_client.encoding import moment_text, to_json

logger = logging.getLogger("sightline_client")

INFERENCES, LABELS, DEFERRED = "inferences", "labels", "deferred"

Row = tuple[str, bytes]
"""Kind and JSON of one event."""

_PREDICTION_FIELDS = (
    "id", "at", "version", "features", "score", "prediction", "class_scores", "entity", "query", "status", "latency_ms",
    "weight", "trace", "supersedes", "withdrawn", "observed_at",
)  # fmt: skip


def encode(entry: Any) -> list[Row] | None:
    """A queue entry as JSON rows; fields without a value are left out. None: it cannot be encoded."""
    try:
        if entry[0] == DEFERRED:
            return [_prediction_row({"version": entry[2], **arguments}) for arguments in entry[1]()]
        if entry[0] == LABELS:
            row = _common(entry[1], entry[2])
            if entry[5]:
                row["retracted"] = True
            else:
                row["value"] = entry[3]
            if entry[4] is not None:
                row["predicted_at"] = moment_text(entry[4])
            return [(LABELS, to_json(row))]
        return [_prediction_row(dict(zip(_PREDICTION_FIELDS, entry[1:])))]
    except Exception:  # foreign objects may fail in any way; the event is counted as dropped
        logger.exception("an event cannot be encoded and is dropped")
        return None


def _common(id: Any, at: Any) -> dict[str, Any]:
    return {"id": id if isinstance(id, str) else str(id), "at": moment_text(at)}


def _prediction_row(arguments: dict[str, Any]) -> Row:
    id, at = arguments.pop("id"), arguments.pop("at")
    is_timeless = at is None and arguments.get("withdrawn")
    row = {"id": id if isinstance(id, str) else str(id)} if is_timeless else _common(id, at)
    if arguments.get("observed_at") is not None:
        arguments["observed_at"] = moment_text(arguments["observed_at"])
    for name, value in arguments.items():
        if value is not None:
            row[name] = value
    return INFERENCES, to_json(row)

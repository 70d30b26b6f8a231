"""Signed calls of a model registry (MLflow 3's webhooks): what makes one true, and what is kept of it.

A call is only a reason to look at the registry at once: nothing that it says is believed. MLflow signs
``<delivery id>.<timestamp>.<body>`` with HMAC-SHA256, as the Standard Webhooks convention does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sightline.durable import exclusive, replace_file
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.narrowing import is_object
from sightline.spec.evaluation_sections import RegistryLink

SIGNATURE, DELIVERY, TIMESTAMP = "x-mlflow-signature", "x-mlflow-delivery-id", "x-mlflow-timestamp"
VERSION = "v1,"
TOLERANCE_SECONDS = 300.0
"""A call may be so old, and so far ahead: the clocks of two machines differ, and MLflow tries again for a while."""
MOST_KEPT = 10_000
"""Ids of calls that are remembered; more within the tolerance are refused."""
MAX_BODY_BYTES = 64 * 1024
LOCK_SECONDS = 5.0
OWN_TAGS = "sightline."
ENTITIES = ("registered_model", "model_version", "model_version_alias", "model_version_tag")
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass
class Calls:
    """What is kept: when the registry last asked for a look, and which calls are known.

    Attributes
    ----------
    asked_at : float
        Seconds since 1970; 0 where it never did.
    why : str
        Its event, such as ``model_version.created``.
    seen : dict of str to float
        Id of a call -> its time, as long as it could be sent again.
    """

    asked_at: float = 0.0
    why: str = ""
    seen: dict[str, float] = field(default_factory=dict[str, float])


class CallRefused(SightlineError):
    """A call that is not believed."""


def check(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> tuple[str, float]:
    """Id and time of a call whose signature is right and whose time is near.

    Parameters
    ----------
    headers : mapping of str to str
        By names in lower case.
    body : bytes
        As it came.
    secret : str
        What the webhook was made with.
    now : float
        Seconds since 1970.

    Raises
    ------
    CallRefused
        Without saying more than the sender may know.
    """
    given, name, told = (headers.get(key, "") for key in (SIGNATURE, DELIVERY, TIMESTAMP))
    signed = b".".join([name.encode("latin-1", "replace"), told.encode("latin-1", "replace"), body])
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    expected = (VERSION + base64.b64encode(digest).decode()).encode()
    if not hmac.compare_digest(given.encode("latin-1", "replace"), expected):
        raise CallRefused("the signature is missing or wrong", fix="give the webhook the secret of this monitor")
    if not (_ID.fullmatch(name) and _SECONDS.fullmatch(told)):
        raise CallRefused("the call has no id or no time that can be read")
    if abs(now - float(told)) > TOLERANCE_SECONDS:
        raise CallRefused(
            f"the call is more than {TOLERANCE_SECONDS:g} s old, or ahead", fix="set the clocks of both machines"
        )
    return name, float(told)


def note(paths: MonitorPaths, call: tuple[str, float], why: str, now: float) -> bool:
    """Remember a call; whether it is a new one. `why` empty: it asks for no look.

    Raises
    ------
    SightlineError
        Too many calls came within the tolerance, or what is kept cannot be read.
    """
    name, at = call
    with exclusive(paths.root / ".registry_calls.lock", LOCK_SECONDS):
        known = read_calls(paths)
        seen = {each: when for each, when in known.seen.items() if abs(now - when) <= 2 * TOLERANCE_SECONDS}
        if name in seen:
            return False
        if len(seen) >= MOST_KEPT:
            raise SightlineError(f"more than {MOST_KEPT:,} calls came within {2 * TOLERANCE_SECONDS:g} s")
        seen[name] = at
        told = Calls(now, why, seen) if why else Calls(known.asked_at, known.why, seen)
        replace_file(_file(paths), json.dumps(asdict(told)))
    return True


def read_calls(paths: MonitorPaths) -> Calls:
    """What is kept of a monitor's calls.

    Raises
    ------
    SightlineError
        The file is damaged.
    """
    file = _file(paths)
    try:
        return Calls(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Calls()
    except (ValueError, TypeError) as error:
        raise SightlineError(f"it cannot be read: {error}", where=str(file), fix="delete it") from error


def reason_to_look(body: bytes, link: RegistryLink, monitor: str) -> str:
    """The event of a call if it is about the monitor's model and not about a tag of ours; else empty.

    Raises
    ------
    ValueError
        It is no event.
    """
    event: Any = json.loads(body)
    if not is_object(event) or not is_object(event.get("data")):
        raise ValueError("a call is an object with `entity`, `action` and `data`")
    entity, data = str(event.get("entity")), event["data"]
    if str(data.get("name")) != (link.model or monitor) or entity not in ENTITIES:
        return ""
    if entity == "model_version_tag" and str(data.get("key")).startswith(OWN_TAGS):
        return ""
    return f"{entity}.{event.get('action')}"


def _file(paths: MonitorPaths) -> Path:
    return paths.root / "registry_calls.json"

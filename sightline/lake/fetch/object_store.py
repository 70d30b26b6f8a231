"""How an S3-compatible store is entered: for boto3, and for the readers of table formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.errors import SightlineError
from sightline.lake.fetch.reading import package, secret
from sightline.spec.source_sections import ObjectStore

CONNECT_SECONDS = 10
READ_SECONDS = 20


@dataclass(frozen=True)
class Keys:
    """What requests are signed with; all empty for a public bucket."""

    access: str
    secret: str
    token: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may see."""
        return tuple(filter(None, (self.secret, self.token, self.access)))


def keys_of(store: ObjectStore, where: str) -> Keys:
    """The keys out of the environment.

    Raises
    ------
    SightlineError
        They are not set.
    """
    if store.anonymous:
        return Keys("", "", "")
    return Keys(
        secret(store.access_key_env, where=where),
        secret(store.secret_key_env, where=where),
        secret(store.session_token_env, where=where, required=False),
    )


_clients: dict[tuple[object, ...], Any] = {}


def client_of(store: ObjectStore, keys: Keys, where: str) -> Any:
    """A client of boto3; one is kept per store and keys, since making it takes a tenth of a second."""
    boto3 = package("boto3", "s3", where)
    config = package("botocore.config", "s3", where)
    known = (store.endpoint, store.region, store.anonymous, keys)
    if known not in _clients:
        if len(_clients) >= 32:
            _clients.clear()
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"mode": "standard", "total_max_attempts": 2},
            "user_agent_extra": "sightline",
        }
        if store.endpoint:
            options["s3"] = {"addressing_style": "path"}
        if store.anonymous:
            options["signature_version"] = package("botocore", "s3", where).UNSIGNED
        _clients[known] = boto3.session.Session().client(
            "s3",
            endpoint_url=store.endpoint,
            region_name=store.region,
            aws_access_key_id=keys.access or None,
            aws_secret_access_key=keys.secret or None,
            aws_session_token=keys.token or None,
            config=config.Config(**options),
        )
    return _clients[known]


FIXES: Mapping[str, str] = {
    "NoSuchBucket": "correct the bucket's name, or `endpoint` if it lies in another store",
    "NoSuchKey": "correct the name in the monitor's file",
    "AccessDenied": "give its user the rights s3:ListBucket and s3:GetObject on the bucket",
    "AllAccessDisabled": "give its user the rights s3:ListBucket and s3:GetObject on the bucket",
    "InvalidAccessKeyId": "correct the access key in the environment",
    "SignatureDoesNotMatch": "correct the secret key in the environment",
    "ExpiredToken": "renew the session token in the environment",
    "PermanentRedirect": "correct `region`",
    "AuthorizationHeaderMalformed": "correct `region`",
}


def told(error: Exception, where: str) -> SightlineError:
    """An error of boto3 with the fix."""
    answer: Any = getattr(error, "response", None) or {}
    found: Any = answer.get("Error") or {}
    code, message = str(found.get("Code", "")), str(found.get("Message", error))
    fix = FIXES.get(code, "see whether `endpoint` is right and the store is up and reachable")
    text = f"{code}: {message}" if code else f"{type(error).__name__}: {message}"
    return SightlineError(" ".join(text.split())[:400], where=where, fix=fix)

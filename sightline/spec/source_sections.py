"""Sections below ``sources``: data that lie in a database, an object store, a table format or a broker.

Credentials are named, never written: every secret is the name of an environment variable.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from sightline.spec.field_types import Duration
from sightline.spec.part import Part

ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"

EnvName = Annotated[str, Field(pattern=ENV_PATTERN)]

SECRET_WORDS = re.compile(r"pass(word|wd|phrase)|secret|token|credential|access[-_.]?key|private[-_.]?key|sasl\.jaas")
"""What names of properties that hold a secret are made of."""

URL_WITH_PASSWORD = re.compile(r"//[^/@\s]*:[^/@\s]+@")


class Postgres(Part):
    """A table of a PostgreSQL database, read as it grows."""

    url_env: EnvName | None = Field(
        default=None,
        description="Environment variable with the whole URL (`postgresql://user:password@host:5432/database`); it "
        "takes the place of the five keys below.",
    )
    host: str = Field(default="localhost", description="Server.")
    port: int = Field(default=5432, ge=1, le=65535, description="Its port.")
    database: str | None = Field(default=None, description="Database; required without `url_env`.")
    user: str | None = Field(default=None, description="User; required without `url_env`.")
    password_env: EnvName | None = Field(default=None, description="Environment variable with the user's password.")
    sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="As of libpq."
    )
    table: str = Field(min_length=1, description="Table or view; another schema's as `schema.table`.")
    cursor: str = Field(
        min_length=1,
        description="Column that grows with time (timestamp, date or integer): `created_at`, `updated_at`, `id`.",
    )
    overlap: Duration = Field(
        default=timedelta(hours=1),
        description="Cursor of type timestamp or date: rows that become visible so much later than rows with a higher "
        "value are found at once, older ones within the hour (views: rows are read when they are so old).",
    )
    overlap_rows: int = Field(
        default=100_000, ge=0, description="Cursor of type integer: the same, as a distance of values."
    )


class ObjectStore(Part):
    """Where an S3-compatible object store is and how to enter it."""

    endpoint: str | None = Field(
        default=None, description="URL of an S3-compatible store (`http://127.0.0.1:9000`); default: AWS."
    )
    region: str = Field(default="us-east-1", description="Region of the bucket.")
    access_key_env: EnvName = Field(
        default="AWS_ACCESS_KEY_ID", description="Environment variable with the access key."
    )
    secret_key_env: EnvName = Field(
        default="AWS_SECRET_ACCESS_KEY", description="Environment variable with the secret key."
    )
    session_token_env: EnvName = Field(
        default="AWS_SESSION_TOKEN", description="Environment variable with a session token, where there is one."
    )
    anonymous: bool = Field(default=False, description="Sign nothing: the bucket is public.")


class S3(ObjectStore):
    """Objects of a bucket: Parquet, CSV and NDJSON files, each loaded once, a changed one again."""

    uri: str = Field(
        pattern=r"^s3://[^/]+/?",
        description="A glob (`s3://bucket/predictions/**/*.parquet`) or a prefix (`s3://bucket/predictions/`).",
    )


class Delta(Part):
    """A Delta table, read version by version."""

    uri: str = Field(
        min_length=1, description="Folder of the table: a path (relative to the home folder) or `s3://bucket/table`."
    )
    store: ObjectStore | None = Field(default=None, description="The object store of an `s3://` table.")


class Iceberg(Part):
    """An Iceberg table, read snapshot by snapshot."""

    catalog: str = Field(
        default="default", description="Name of the catalogue, of `.pyiceberg.yaml` too where `properties` is empty."
    )
    table: str = Field(min_length=1, description="Identifier of the table: `namespace.table`.")
    properties: dict[str, str] = Field(
        default_factory=dict,
        description="Properties of the catalogue as of PyIceberg (`type`, `uri`, `warehouse`, `s3.endpoint`...).",
    )
    properties_env: dict[str, EnvName] = Field(
        default_factory=dict,
        description="Properties that are secrets: name -> environment variable (`s3.secret-access-key: S3_SECRET`).",
    )


class Kafka(Part):
    """A topic of JSON messages."""

    brokers: str = Field(min_length=1, description="Bootstrap servers: `host:9092,other:9092`.")
    topic: str = Field(min_length=1, description="Topic; each message is one JSON object.")
    key: str | None = Field(
        default=None, description="Column that the message's key is, where the value does not hold it itself."
    )
    start: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where to begin when nothing was read yet."
    )
    group: str | None = Field(
        default=None,
        description="Consumer group to which offsets are committed, for lag monitors; default `sightline-<monitor>`.",
    )
    properties: dict[str, str] = Field(
        default_factory=dict,
        description="Properties of librdkafka (`security.protocol`, `sasl.mechanism`, `sasl.username`...).",
    )
    properties_env: dict[str, EnvName] = Field(
        default_factory=dict,
        description="Properties that are secrets: name -> environment variable (`sasl.password: KAFKA_PASSWORD`).",
    )


Remote = Postgres | S3 | Delta | Iceberg | Kafka
"""A source that is fetched before it is loaded."""

REMOTE: Mapping[str, type[Remote]] = {
    "postgres": Postgres,
    "s3": S3,
    "delta": Delta,
    "iceberg": Iceberg,
    "kafka": Kafka,
}
"""Key below ``sources.inferences`` and ``sources.labels`` -> section."""


Mistake = tuple[tuple[str, ...], str, str]
"""Key path below a source, what is wrong, and the fix."""


def mistakes(remote: Remote) -> Iterator[Mistake]:
    """What is wrong with a source: secrets that are written down, and what lacks.

    Parameters
    ----------
    remote : Remote
        The section.

    Yields
    ------
    Mistake
    """
    if isinstance(remote, Postgres):
        if remote.url_env is None and not (remote.database and remote.user):
            fix = "write `host`, `database`, `user` and `password_env`, or `url_env: NAME_OF_VARIABLE`"
            yield (), "it does not say which database to read", fix
        if remote.url_env is not None and (remote.database or remote.user or remote.password_env):
            yield (), "`url_env` and the parts of the URL are both given", "keep one of the two"
    if isinstance(remote, Delta) and remote.uri.partition("://")[0] in ("abfss", "gs", "az", "hdfs"):
        yield ("uri",), "Delta tables are read from folders and from `s3://`", "name one of these"
    if isinstance(remote, Iceberg | Kafka):
        yield from _secret_properties(remote.properties)
    yield from _passwords(remote, ())
    if isinstance(remote, Delta) and remote.store is not None:
        yield from _passwords(remote.store, ("store",))


def _secret_properties(properties: Mapping[str, str]) -> Iterator[Mistake]:
    for name, value in properties.items():
        fix = f"write `properties_env: {{{name}: NAME_OF_VARIABLE}}` and take the value out of the file"
        if SECRET_WORDS.search(name.lower()):
            yield ("properties", name), f"{name} is a secret: it does not belong into a file", fix
        elif URL_WITH_PASSWORD.search(value):
            yield ("properties", name), f"{name} is a URL with a password", fix


def _passwords(part: Part, keys: tuple[str, ...]) -> Iterator[Mistake]:
    for name in ("uri", "endpoint", "host", "brokers"):
        if URL_WITH_PASSWORD.search(str(getattr(part, name, ""))):
            fix = "take it out; secrets are named by environment variables"
            yield (*keys, name), f"`{name}` holds a password", fix


PACKAGES = {
    "postgres": "adbc_driver_postgresql",
    "s3": "boto3",
    "delta": "deltalake",
    "iceberg": "pyiceberg",
    "kafka": "confluent_kafka",
}
"""Key of a source -> the module of its optional package; the extra has the key's name."""


def place_named(remote: Remote) -> str:
    """What a source names, in a few words without credentials."""
    if isinstance(remote, Postgres):
        return (
            remote.table if remote.url_env else f"{remote.host}:{remote.port}/{remote.database}, table {remote.table}"
        )
    if isinstance(remote, Iceberg):
        return f"{remote.catalog}, table {remote.table}"
    return f"{remote.brokers}, topic {remote.topic}" if isinstance(remote, Kafka) else remote.uri


def lacking_here(kind: str, remote: Remote) -> Iterator[str]:
    """What lacks in this process for a source to be read, as far as that shows without asking it.

    Parameters
    ----------
    kind : str
        Its key, of `REMOTE`.
    remote : Remote
        The section.

    Yields
    ------
    str
        Packages that are not installed, environment variables that are not set.
    """
    if importlib.util.find_spec(PACKAGES[kind]) is None:
        yield f"its package is not installed: pip install 'sightline[{kind}]'"
    names: list[str | None] = []
    if isinstance(remote, Postgres):
        names = [remote.url_env, remote.password_env]
    elif isinstance(remote, Iceberg | Kafka):
        names = list(remote.properties_env.values())
    else:
        store = remote if isinstance(remote, S3) else remote.store
        if store is not None and not store.anonymous:
            names = [store.access_key_env, store.secret_key_env]
    for name in filter(None, names):
        if not os.environ.get(name) and not os.environ.get(f"{name}_FILE"):
            yield f"the environment variable {name} is not set here"

"""Dagster's PostgreSQL storage whose event log writes batches (`batches`), named by the instance's ``dagster.yaml``.

``deploy/dagster.yaml`` shows its use; the settings are those of ``dagster_postgres``. It keeps the tables of Dagster's
own storage, so an instance can go from one to the other at any time, and some processes may use either.

Private API of dagster 1.13.27 and dagster-postgres 0.29.27. Held by
tests/orchestration/dagster_private/test_postgres.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import DagsterPostgresException, get_token_provider_from_config, pg_url_from_config
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from orchestration.dagster_private.batches import WritesBatches, let_dagster_batch
from sightline.errors import SightlineError


class BatchedPostgresEventLogStorage(WritesBatches, PostgresEventLogStorage):
    """Dagster's event log in PostgreSQL, with batches in whichever process opens it."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedPostgresEventLogStorage:
        """Open it, and let this process write batches."""
        let_dagster_batch()
        url = _url(config_value)
        with _told(url):
            return cls(
                postgres_url=url,
                should_autocreate_tables=config_value.get("should_autocreate_tables", True),
                inst_data=inst_data,
                token_provider=get_token_provider_from_config(config_value),
            )


class BatchedPostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules in one PostgreSQL database, its event log with batches."""

    @classmethod
    def from_config_value(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedPostgresStorage:
        """Open it, and let this process write batches.

        Dagster's own constructor opens the event log that is replaced here: both make no lasting connection.
        """
        token_provider = get_token_provider_from_config(config_value)  # pyright: ignore[reportArgumentType]
        url = _url(config_value)
        with _told(url):
            storage = cls(
                postgres_url=url,
                should_autocreate_tables=config_value.get("should_autocreate_tables", True),
                inst_data=inst_data,
                token_provider=token_provider,
            )
        storage._event_log_storage = BatchedPostgresEventLogStorage.from_config_value(None, config_value)
        return storage

    @property
    def event_storage_data(self) -> ConfigurableClassData | None:
        """How to open the event log alone."""
        if self.inst_data is None:
            return None
        return ConfigurableClassData(__name__, BatchedPostgresEventLogStorage.__name__, self.inst_data.config_yaml)


def _url(config: Mapping[str, Any]) -> str:
    """The database's URL, with the driver that dagster-postgres brings where it names none.

    Raises
    ------
    SightlineError
        It is no URL; its text, which may hold a password, is not repeated.
    """
    try:
        url = make_url(pg_url_from_config(config))  # pyright: ignore[reportArgumentType]
    except ArgumentError:
        what, fix = "the database's URL cannot be read", "write postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        raise SightlineError(what, where="dagster.yaml, storage", fix=fix) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg2")
    return url.render_as_string(hide_password=False)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Say in one line why the database cannot be opened, without its password.

    Raises
    ------
    SightlineError
        After Dagster's retries, of 15 s.
    """
    try:
        yield
    except DagsterPostgresException as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        cause = cause.removeprefix("(psycopg2.OperationalError) ")
        at = make_url(url)
        fix = "see that the server runs, and correct the URL where the units take it from (SIGHTLINE_POSTGRES_URL)"
        where = f"{at.username} at {at.host}:{at.port or 5432}/{at.database}"
        raise SightlineError(f"PostgreSQL cannot be opened: {cause}", where=where, fix=fix) from None

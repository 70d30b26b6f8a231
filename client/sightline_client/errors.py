"""Errors of the client. None of them reaches the request path unless the client was made with ``sync=True``."""

from __future__ import annotations


class SightlineClientError(Exception):
    """An event could not be logged (raised with ``sync=True``), or the client was set up wrongly."""


class Unavailable(SightlineClientError):
    """The destination does not take events at the moment: keep them and try again.

    Parameters
    ----------
    message : str
        What happened.
    retry_after : float, optional
        Seconds after which the destination wants to be asked again.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(SightlineClientError):
    """The destination will never take these rows: trying again is of no use."""

"""What came of one attempt to reach somebody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt.

    Attributes
    ----------
    error : str
        Empty: the message was taken. In our own words: it names neither the address nor what was answered, which may
        repeat a secret.
    retry_after : float or None
        Seconds after which the receiver wants to be asked again.
    is_channel_down : bool
        Whether other messages would fail alike; else only this one is refused.
    """

    error: str = ""
    retry_after: float | None = None
    is_channel_down: bool = True


TAKEN = Outcome()

"""What Sightline needs of a registry: three methods. Anything that has them can be named in a monitor's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sightline.errors import SightlineError


class RegistryError(SightlineError):
    """The registry is down, slow, or says something that cannot be understood: tried again later."""


@dataclass(frozen=True)
class Registered:
    """A version of the model as the registry has it.

    Attributes
    ----------
    version : str
        Its name; the candidate is called the same.
    created_at : float
        Seconds since 1970.
    aliases : tuple of str
    tags : mapping of str to str
    run : str
        What made it, in the registry's own terms; empty if that is not known.
    is_ready : bool
        It may be evaluated.
    """

    version: str
    created_at: float
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    run: str = ""
    is_ready: bool = True


@dataclass(frozen=True)
class VerdictNote:
    """What is written back.

    Attributes
    ----------
    version : str
    outcome : {"superior", "non_inferior", "inferior", "cannot_tell"}
    reason : str
        One sentence.
    evaluated_at : str
        ISO 8601, UTC; empty where nothing was evaluated.
    may_promote : bool
    page : str
        Where the evaluation is kept: a file below the home folder.
    """

    version: str
    outcome: str
    reason: str
    evaluated_at: str = ""
    may_promote: bool = False
    page: str = ""


class Registry(Protocol):
    """A registry of one model. Every method may raise a `RegistryError`, and must return within a minute or so."""

    def versions(self) -> Sequence[Registered]:
        """Versions of the model, newest first; the newest hundred are enough."""
        ...

    def evaluation_set(self, version: Registered, folder: Path) -> Sequence[Path]:
        """Write the scored evaluation set of a version into an empty folder; no file where it has none."""
        ...

    def write_verdict(self, version: Registered, verdict: VerdictNote) -> None:
        """Note a verdict on a version; the same one twice must do no harm."""
        ...

"""``alerts/routes.yaml``: who is told of what, by which channel, and when not; every mistake told with its line."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, WithJsonSchema

from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.spec.field_types import Duration
from sightline.spec.loader import SpecError, read_part
from sightline.spec.part import Part
from sightline.spec.yaml_lines import Document

RECORD = "record"
"""The built-in channel `data/<monitor>/results/alerts.ndjson`: it takes what no route takes."""
REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")
NAME = r"^[a-z][a-z0-9_-]{0,62}$"
Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: tuple[Day, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Template = Literal["json", "slack", "markdown", "plain"]


def parse_reference(value: object) -> object:
    """A secret by reference; what stands in its place is not repeated, it may be the secret itself."""
    if isinstance(value, str) and REFERENCE.fullmatch(value):
        return value
    raise ValueError("a secret stands in the environment or in a file: write env:NAME or file:/run/secrets/name")


def parse_target(value: object) -> object:
    """A reference, or an address without a password in it."""
    if isinstance(value, str) and REFERENCE.fullmatch(value):
        return value
    parsed = None
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        try:
            parsed = urlsplit(value)
        except ValueError:
            parsed = None
    if parsed is None or not parsed.hostname or parsed.username is not None or parsed.password is not None:
        raise ValueError("write env:NAME, file:/run/secrets/name, or an https address without a password in it")
    return value


def parse_clock(value: object) -> object:
    """``"22:00"`` as a time of day."""
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        return time.fromisoformat(value)
    raise ValueError(f'{value!r} is no time of day: write it in quotes, such as "08:00"')


def parse_zone(value: object) -> object:
    """The name of a time zone that is known here."""
    try:
        return ZoneInfo(str(value)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone: write a name such as UTC or Europe/Berlin") from None


def parse_local(value: object) -> object:
    """A date or time for people; without a zone it is in that of `timezone`."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            pass
    if isinstance(value, datetime):
        return value
    raise ValueError(f"{value!r} is no time: write 2026-01-31 or 2026-01-31T06:00")


def parse_address(value: object) -> object:
    """An address of pages that a message links to."""
    if isinstance(value, str) and re.match(r"https?://[^\s<>\"]+$", value) and "@" not in urlsplit(value).netloc:
        return value.rstrip("/")
    raise ValueError("write an http or https address without a user and password in it")


def parse_names(value: object) -> object:
    """One name, or a list of them."""
    return [value] if isinstance(value, str) else value


_TEXT = {"type": "string"}
_NAMES = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
Names = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(parse_names), WithJsonSchema(_NAMES)]
Reference = Annotated[str, BeforeValidator(parse_reference), WithJsonSchema({**_TEXT, "pattern": r"^(env:|file:)."})]
Target = Annotated[
    str, BeforeValidator(parse_target), WithJsonSchema({**_TEXT, "pattern": r"^(env:|file:|https?://)."})
]
Clock = Annotated[
    time, BeforeValidator(parse_clock), WithJsonSchema({**_TEXT, "pattern": r"^([01]\d|2[0-3]):[0-5]\d$"})
]
Zone = Annotated[str, BeforeValidator(parse_zone), WithJsonSchema({**_TEXT, "examples": ["UTC", "Europe/Berlin"]})]
Local = Annotated[datetime, BeforeValidator(parse_local), WithJsonSchema({**_TEXT, "pattern": r"^\d{4}-\d{2}-\d{2}"})]
Address = Annotated[str, BeforeValidator(parse_address), WithJsonSchema({**_TEXT, "pattern": "^https?://"})]


class Channel(Part):
    """One way to reach somebody."""

    kind: Literal["webhook", "apprise", "file"] = Field(
        description="`webhook` posts to an address; `apprise` reaches mail, Slack, Teams, PagerDuty and others (needs "
        "the extra `notify`); `file` appends lines of JSON."
    )
    url: Target | None = Field(
        default=None,
        description="Where to (webhook, apprise): `env:NAME`, `file:/run/secrets/name`, or for a webhook an address "
        "that is no secret.",
    )
    secret: Reference | None = Field(
        default=None, description="Key of the signature (webhook): `env:NAME` or `file:/run/secrets/name`."
    )
    headers: dict[str, Reference] = Field(
        default={}, description="More headers of a webhook: name -> `env:NAME` or `file:/run/secrets/name`."
    )
    allow_private: bool = Field(
        default=False, description="May the webhook's address be on this machine or in a private network?"
    )
    path: str | None = Field(default=None, description="The file (file), from the home folder on.")
    template: Template | None = Field(
        default=None,
        description="How messages are written: `json` (webhook's default), `slack` (blocks), `markdown`, `plain` "
        "(apprise's default).",
    )
    timeout: Duration = Field(default=timedelta(seconds=10), description="For one message, from 1s to 1m.")
    give_up_after: Duration = Field(
        default=timedelta(days=3), description="A message is tried for so long before it is given up, at least 1h."
    )


class Route(Part):
    """Who is told of what: a change takes each route of which all given conditions hold."""

    to: Names = Field(description="Channel, or list of channels.")
    name: str | None = Field(
        default=None,
        pattern=NAME,
        description="Monitors take a named route by `alerts.notify: [name]`, whatever its `monitors` and `owners` say.",
    )
    monitors: tuple[str, ...] = Field(default=(), description="Ids or patterns (`churn_*`); default all.")
    owners: tuple[str, ...] = Field(
        default=(), description="Owners (`model.owner`, or to whom the incident is assigned) or patterns; default all."
    )
    severities: tuple[Literal["error", "warn", "info"], ...] = Field(default=(), description="Default all.")
    kinds: tuple[str, ...] = Field(
        default=(), description="Kinds of changes or patterns (`opened`, `run_*`); default all."
    )
    assets: tuple[str, ...] = Field(
        default=(), description="Assets or patterns (`drift`, `model_quality`): any of a change's; default all."
    )


class QuietHours(Part):
    """When only what is urgent is told; the rest waits until it is over."""

    start: Clock | None = Field(default=None, alias="from", description="Time of day, such as `22:00` in quotes.")
    end: Clock | None = Field(default=None, alias="to", description="Time of day; earlier than `from`: the next day.")
    days: tuple[Day, ...] = Field(default=(), description="Days that are quiet as a whole, such as saturday.")
    urgent: tuple[Literal["error", "warn", "info"], ...] = Field(
        default=("error",), description="Severities that are told all the same."
    )


class Downtime(Part):
    """A time in which nothing is told of some monitors; a summary follows."""

    monitors: tuple[str, ...] = Field(default=("*",), description="Ids or patterns.")
    start: Local = Field(alias="from", description="First moment; without a zone in `timezone`.")
    end: Local = Field(alias="to", description="First moment after it.")
    reason: str = Field(default="", description="Told with the summary.")


class DigestSchedule(Part):
    """The weekly digest: what is open, what settled unseen, what is not judged, what the budget was spent on."""

    day: Day = Field(default="monday", description="Day of the week.")
    at: Clock = Field(default=time(8), description="Time of day.")
    to: tuple[str, ...] = Field(min_length=1, description="Channels.")


class Links(Part):
    """Addresses of pages that messages link to."""

    dagster: Address | None = Field(default=None, description="Dagster's pages: links to the lineage and to runs.")
    dashboard: Address | None = Field(
        default=None, description="A page of yours; `{monitor}` and `{incident}` in it are filled in."
    )


class Routes(Part):
    """All of ``alerts/routes.yaml``."""

    version: Literal[1] = Field(default=1, description="Version of this file's format.")
    timezone: Zone = Field(default="UTC", description="Zone of the times below.")
    channels: dict[str, Channel] = Field(default={}, description="Ways to reach somebody: name -> channel.")
    routes: tuple[Route, ...] = Field(
        default=(), description="Who is told of what; what none takes goes to `data/<monitor>/results/alerts.ndjson`."
    )
    quiet_hours: QuietHours | None = Field(default=None, description="When only urgent changes are told.")
    holidays: tuple[date, ...] = Field(default=(), description="Days that are quiet as a whole.")
    downtime: tuple[Downtime, ...] = Field(default=(), description="Times in which nothing is told of some monitors.")
    digest: DigestSchedule | None = Field(default=None, description="When the weekly digest is sent, and to whom.")
    links: Links = Field(default=Links(), description="Addresses of pages that messages link to.")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)


def routes_file(home: Home) -> Path:
    """``alerts/routes.yaml`` of a home."""
    return home.root / "alerts" / "routes.yaml"


def load_routes(home: Home) -> Routes:
    """Read `alerts/routes.yaml`; without it everything goes to the record.

    Raises
    ------
    SpecError
        With all mistakes of the file, each with its line.
    """
    path = routes_file(home)
    if not path.is_file():
        return Routes()
    document, routes, found = read_part(path, Routes)
    if routes is not None:
        found += _problems(document, routes)
    if found or routes is None:
        raise SpecError(found)
    return routes


def _problems(document: Document, routes: Routes) -> list[SightlineError]:
    """Rules between keys."""
    found: list[SightlineError] = []

    def tell(where: tuple[str | int, ...], what: str, fix: str) -> None:
        found.append(SightlineError(what, where=document.where(where), fix=fix))

    for name, channel in routes.channels.items():
        if not re.fullmatch(NAME, name) or name == RECORD:
            fix = "use lower-case letters, digits, _ and -, and not `record`, which is built in"
            tell(("channels", name), f"{name!r} is no name for a channel", fix)
        for key, what, fix in _channel_problems(name, channel):
            tell(("channels", name, key), what, fix)
    for n, route in enumerate(routes.routes):
        for name in route.to:
            _known_channel(tell, routes, ("routes", n, "to"), name)
        if route.name in routes.channels:
            tell(("routes", n, "name"), f"{route.name!r} names a channel and a route", "choose another name")
    for name in () if routes.digest is None else routes.digest.to:
        _known_channel(tell, routes, ("digest", "to"), name)
    quiet = routes.quiet_hours
    if quiet is not None and (quiet.start is None) != (quiet.end is None):
        tell(("quiet_hours",), "quiet_hours needs both `from` and `to`, or only `days`", "add the other one")
    for n, downtime in enumerate(routes.downtime):
        start, end = (moment_in(routes, each) for each in (downtime.start, downtime.end))
        if start >= end:
            tell(("downtime", n, "to"), "a downtime ends before it begins", "give the later time as `to`")
    return found


def _known_channel(tell: Any, routes: Routes, where: tuple[str | int, ...], name: str) -> None:
    known = [*routes.channels, RECORD]
    if name not in known:
        tell(where, f"there is no channel {name!r}", nearest(name, known))


def _channel_problems(name: str, channel: Channel) -> list[tuple[str, str, str]]:
    """(key, what, fix) of what does not fit a channel's kind."""
    found: list[tuple[str, str, str]] = []
    given = {key for key in Channel.model_fields if key in channel.model_fields_set}
    of_webhook = {"secret", "headers", "allow_private"}
    misfits = {
        "webhook": {"path"},
        "apprise": {"path", *of_webhook},
        "file": {"url", "template", "timeout", *of_webhook},
    }
    for key in sorted(given & misfits[channel.kind]):
        found.append((key, f"a channel of kind {channel.kind} has no {key!r}", "remove the line"))
    if channel.kind != "file" and channel.url is None:
        found.append(
            ("kind", f"the channel {name} needs `url`", f"add `url: env:{name.upper().replace('-', '_')}_URL`")
        )
    if channel.kind == "file" and channel.path is None:
        found.append(("kind", f"the channel {name} needs `path`", f"add `path: data/alerts/{name}.ndjson`"))
    if channel.kind == "apprise":
        if channel.url is not None and not REFERENCE.fullmatch(channel.url):
            found.append(
                ("url", "an address of apprise holds its password", "write env:NAME or file:/run/secrets/name")
            )
        if channel.template in ("json", "slack"):
            found.append(("template", f"apprise takes no {channel.template}", "write markdown or plain"))
    for key, low, high, fix in (
        ("timeout", timedelta(seconds=1), timedelta(minutes=1), "write 1s to 1m"),
        ("give_up_after", timedelta(hours=1), timedelta(days=60), "write 1h to 60d"),
    ):
        if not low <= getattr(channel, key) <= high:
            found.append((key, f"{key} is out of its range", fix))
    return found


def moment_in(routes: Routes, moment: datetime) -> datetime:
    """A moment of the file with its zone."""
    return moment.replace(tzinfo=routes.zone) if moment.tzinfo is None else moment

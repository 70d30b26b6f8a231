"""Messages as Markdown, Slack's blocks, plain text or JSON, from templates that a user may put his own in place of."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sightline.alerts.messages import escaping
from sightline.alerts.messages.view import View, view
from sightline.alerts.outbox import Message
from sightline.alerts.outbox_file import as_line
from sightline.home import Home
from sightline.narrowing import is_array, is_object
from sightline.spec.routes import Links, Template

logger = logging.getLogger(__name__)

FILES = {"plain": "plain.txt.j2", "markdown": "markdown.md.j2", "slack": "slack.json.j2"}
ESCAPES: dict[str, Callable[[object], str]] = {
    "plain": escaping.plain,
    "markdown": escaping.markdown,
    "slack": escaping.slack,
}
TYPES = {
    "plain": "text/plain; charset=utf-8",
    "markdown": "text/markdown; charset=utf-8",
    "slack": "application/json",
    "json": "application/json",
}
MAX_BODY = 8000
"""Characters of a text."""
MAX_BLOCKS, MAX_BLOCK = 50, 3000
"""Slack's limits: blocks of a message, characters of a block."""
MAX_CHANGES = 1000
"""Changes that one body of JSON tells whole; the rest is named by id."""
MAX_TEMPLATE = 64 * 1024


@dataclass(frozen=True)
class Rendered:
    """A message as it is sent.

    Attributes
    ----------
    title : str
        One line.
    body : str
        Text, or JSON.
    content_type : str
        Its media type.
    """

    title: str
    body: str
    content_type: str


def render(home: Home, message: Message, form: Template, links: Links) -> Rendered:
    """Write a message.

    Parameters
    ----------
    home : Home
        ``alerts/templates/`` in it holds the user's own templates, named as the built-in ones.
    message : Message
    form : {'json', 'slack', 'markdown', 'plain'}
        `json` has no template.
    links : Links
        Addresses of pages.

    Returns
    -------
    Rendered
        A template of the user that cannot be used gives way to the built-in one, and the message says so.
    """
    seen = view(message, links)
    if form == "json":
        return Rendered(seen.title, _json(message, seen), TYPES[form])
    own = home.root / "alerts" / "templates" / FILES[form]
    if own.is_file():
        try:
            return Rendered(seen.title, _filled(form, _read(own), seen), TYPES[form])
        except (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, OSError) as error:
            where = f", line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
            note = f"alerts/templates/{own.name} could not be used: {type(error).__name__}{where}"
            logger.warning("%s; the built-in template was used", note)
            held = "; ".join(filter(None, [seen.held_for, note]))
            seen = replace(seen, held_for=held)
    return Rendered(seen.title, _filled(form, built_in(form), seen), TYPES[form])


@cache
def built_in(form: str) -> str:
    """Text of a built-in template."""
    return (resources.files(__package__ or "") / "templates" / FILES[form]).read_text(encoding="utf-8")


def _read(file: Path) -> str:
    content = file.read_bytes()
    if len(content) > MAX_TEMPLATE:
        raise ValueError("too large")
    return content.decode("utf-8")


def _filled(form: str, template: str, seen: View) -> str:
    """A template with the message filled in: every value is escaped, whatever the template does."""
    environment = ImmutableSandboxedEnvironment(
        autoescape=False,  # `finalize` escapes for the form at hand
        finalize=ESCAPES[form],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.from_string(template).render(m=seen)
    if form == "slack":
        return json.dumps(_fitted(json.loads(text)), ensure_ascii=False)
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    return text if len(text) <= MAX_BODY else text[: MAX_BODY - 10] + "… (cut)\n"


def _fitted(data: Any) -> dict[str, Any]:
    """Blocks within Slack's limits."""
    blocks: Any = data.get("blocks") if is_object(data) else None
    if not is_object(data) or not is_array(blocks):
        raise ValueError("no object with blocks")
    return {**data, "blocks": [_cut(block) for block in blocks[:MAX_BLOCKS]]}


def _cut(value: Any) -> Any:
    if is_object(value):
        return {key: _cut(part) for key, part in value.items()}
    if is_array(value):
        return [_cut(part) for part in value]
    if isinstance(value, str) and len(value) > MAX_BLOCK:
        return re.sub(r"&[a-z]{0,4}$", "", value[: MAX_BLOCK - 1]) + "…"
    return cast("Any", value)


def _json(message: Message, seen: View) -> str:
    """All of a message for programs: values as they are, JSON escapes them."""
    changes = [as_line(change) for change in message.changes[:MAX_CHANGES]]
    told = {"version": 1, "message": message.id, "title": seen.title, "severity": seen.severity, "n_changes": seen.n}
    rest = [change.id for change in message.changes[MAX_CHANGES:]]
    return json.dumps({**told, "held_for": seen.held_for or None, "changes": changes, "more": rest})

"""The JSON schema of a monitor file: editors complete and check with it, `docs/spec.md` is made from it."""

from __future__ import annotations

import json
from datetime import time, timedelta
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from metrics_py.text.descriptors import DESCRIPTORS
from sightline.spec.budget import Budget
from sightline.spec.dashboards import Dashboard
from sightline.spec.durations import format_duration
from sightline.spec.field_types import FeatureKind
from sightline.spec.home_file import HomeFile
from sightline.spec.model import MonitorSpec
from sightline.spec.routes import Routes
from sightline.spec.teams import Teams

SCHEMA_FILE = "monitor.schema.json"
ROUTES_FILE = "routes.schema.json"
TEAMS_FILE = "teams.schema.json"
DASHBOARD_FILE = "dashboard.schema.json"
HOME_FILE = "sightline.schema.json"
SCHEMA_LINE = f"# yaml-language-server: $schema=../schemas/{SCHEMA_FILE}"
"""First line of a monitor file; the YAML language server of most editors reads it."""


class _Generator(GenerateJsonSchema):
    """Writes defaults as a user writes them: `3d`, `1 per 90d`."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, time):
            return f"{dft:%H:%M}"
        return str(dft) if isinstance(dft, Budget) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of `MonitorSpec`, with the shorthands of features that the loader reads."""
    schema = MonitorSpec.model_json_schema(schema_generator=_Generator)
    features = schema["$defs"]["Columns"]["properties"]["features"]
    kinds = {"enum": list(get_args(FeatureKind)), "type": "string", "description": "Shorthand: the kind alone."}
    contract: dict[str, Any] = {**schema["$defs"]["Feature"], "required": []}
    schema["$defs"]["Feature"] = contract
    _short_descriptors(contract)
    _tidy(schema)
    features["anyOf"] = [
        {
            "type": "object",
            "additionalProperties": {"anyOf": [kinds, {"$ref": "#/$defs/Feature"}, {"type": "null"}]},
            "propertyNames": {"pattern": r"^[^@]"},
        },
        {
            "type": "array",
            "items": {"type": "string", "pattern": "^[^@]"},
            "description": "Names only: kinds are inferred once.",
        },
    ]
    for key in ("additionalProperties", "type"):
        features.pop(key, None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sightline monitor",
        "description": "One monitored model: monitors/<id>.yaml",
        **{key: value for key, value in schema.items() if key not in ("title", "description")},
    }


def _short_descriptors(feature: dict[str, Any]) -> None:
    """A descriptor may stand as its name alone."""
    names: dict[str, Any] = {"enum": list(DESCRIPTORS), "type": "string"}
    described = next(o for o in feature["properties"]["descriptors"]["anyOf"] if o.get("type") == "array")
    described["items"] = {"anyOf": [names, described["items"]]}


def _tidy(schema: dict[str, Any]) -> None:
    """Leave out derived titles, defaults of whole sections, and the null of optional sections.

    The loader refuses the latter.
    """
    for part in (schema, *schema["$defs"].values()):
        for value in part["properties"].values():
            value.pop("title", None)
            if isinstance(value.get("default"), dict):
                value.pop("default")
            options = value.get("anyOf", [])
            if len(options) == 2 and "$ref" in options[0] and options[1] == {"type": "null"}:
                value.pop("anyOf")
                value.pop("default", None)
                value.update(options[0])


def routes_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of `alerts/routes.yaml`."""
    return _of_home(Routes, "Sightline routes", "Who is told of what: alerts/routes.yaml")


def teams_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of `alerts/teams.yaml`."""
    return _of_home(Teams, "Sightline teams", "One alert budget over several monitors: alerts/teams.yaml")


def dashboard_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of `dashboards/<name>.yaml`."""
    return _of_home(Dashboard, "Sightline dashboard", "A page of one's own: dashboards/<name>.yaml")


def home_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of `sightline.yaml`."""
    return _of_home(HomeFile, "Sightline home", "What holds for all monitors of a home folder: sightline.yaml")


def _of_home(model: type[BaseModel], title: str, description: str) -> dict[str, Any]:
    """Schema of a file of the home folder."""
    schema = model.model_json_schema(schema_generator=_Generator)
    _tidy(schema)
    for part in schema["$defs"].values():  # `kind` decides which of the others are needed; the loader tells
        part.pop("title", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        **{key: value for key, value in schema.items() if key not in ("title", "description")},
    }


def routes_schema_text() -> str:
    """The schema of `alerts/routes.yaml` as the text of its file."""
    return _text(routes_schema())


def teams_schema_text() -> str:
    """The schema of `alerts/teams.yaml` as the text of its file."""
    return _text(teams_schema())


def dashboard_schema_text() -> str:
    """The schema of `dashboards/<name>.yaml` as the text of its file."""
    return _text(dashboard_schema())


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema_text() -> str:
    """The schema as the text of its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def write_schema(folder: Path) -> Path:
    """Write all schemas into a folder and return the path of the monitor's; equal files are left alone."""
    files = {ROUTES_FILE: routes_schema_text(), TEAMS_FILE: teams_schema_text(), SCHEMA_FILE: schema_text()}
    files[DASHBOARD_FILE] = dashboard_schema_text()
    files[HOME_FILE] = _text(home_schema())
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder / SCHEMA_FILE

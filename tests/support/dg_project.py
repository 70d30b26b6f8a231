"""The project of `docs/components.md` as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "components.md"
PROGRAMS = Path(sys.executable).parent


def write_project(folder: Path) -> Path:
    """Write the files of the page."""
    files = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(files) >= 5
    for name, text in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for package in ("shop", "shop/defs"):
        (folder / package / "__init__.py").touch()
    (folder / "dagster_home").mkdir()
    return folder


def variables(project: Path, **more: str) -> dict[str, str]:
    """Environment of a user's shell in the project: nothing of Sightline's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "DAGSTER_"))}
    own = {"DAGSTER_HOME": str(project / "dagster_home"), "PYTHONPATH": f"{project}{os.pathsep}{ROOT}"}
    own["PATH"] = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "DAGSTER_DISABLE_TELEMETRY": "1", **own, **more}


def call(project: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One command in the project."""
    return subprocess.run(
        [str(PROGRAMS / command[0]), *command[1:]],
        cwd=project,
        env=variables(project, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

"""What Spark needs on this machine, and whether its cluster answers."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from sightline.errors import SightlineError
from sightline.spec.home_file import EngineSettings

PACKAGES = ("pyspark", "dbt-spark", "sqlglot")
EXTRA = "pip install 'sightline[spark]'"
JAVA = (17, 21)
"""Versions of Java that Spark 4 runs on."""
ANSWER_S = 10.0


def require(settings: EngineSettings) -> None:
    """Raise the first of `lacking`, if anything is.

    Raises
    ------
    SightlineError
        With the place and the cure.
    """
    for error in lacking(settings):
        raise error


def lacking(settings: EngineSettings) -> list[SightlineError]:
    """What keeps Spark from running here, each with its cure; nothing is started.

    Parameters
    ----------
    settings : EngineSettings
        Where Spark is.
    """
    found = [*_packages(), *_java(), *_masters(settings)]
    work = settings.work
    if work is not None and not os.access(work, os.W_OK):
        found.append(
            SightlineError(
                "the folder cannot be written to", where=f"engine.work: {work}", fix="make it, or correct it"
            )
        )
    return found


def variables(settings: EngineSettings) -> dict[str, str]:
    """Environment of a session: on this machine alone everything stays on loopback."""
    return {"SPARK_LOCAL_IP": "127.0.0.1"} if settings.master.startswith("local") else {}


def _packages() -> list[SightlineError]:
    missing: list[str] = []
    for name in PACKAGES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if not missing:
        return []
    return [SightlineError(f"{', '.join(missing)} not installed", where="engine: spark", fix=EXTRA)]


def _java() -> list[SightlineError]:
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    fix = f"install Java {JAVA[0]} (Debian: `apt-get install openjdk-17-jre-headless`) or set JAVA_HOME"
    if program is None or (home and not Path(program).is_file()):
        where = f"JAVA_HOME={home}" if home else "engine: spark"
        return [SightlineError("there is no Java", where=where, fix=fix)]
    done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    version = re.search(r'version "(\d+)', done.stderr + done.stdout)
    if version is None:
        return [SightlineError(f"{program} does not tell its version: {done.stderr.strip()[:200]}", fix=fix)]
    if int(version[1]) < JAVA[0]:
        return [SightlineError(f"Java {version[1]} is too old for Spark 4", where=program, fix=fix)]
    return []


def _masters(settings: EngineSettings) -> list[SightlineError]:
    """Whether a standalone cluster's port is open; other clusters answer only to a session."""
    named = re.fullmatch(r"spark://(.+)", settings.master)
    if named is None:
        return []
    problems: list[SightlineError] = []
    for address in named[1].split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
        except (OSError, ValueError, OverflowError) as error:
            fix = "start it, or correct `engine.master` in sightline.yaml: spark://host:7077"
            where = f"engine.master: spark://{address}"
            problems.append(SightlineError(f"the master does not answer: {error}", where=where, fix=fix))
        else:
            return []  # one of several masters is enough
    return problems

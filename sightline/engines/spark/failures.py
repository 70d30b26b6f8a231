"""What a session's log says of its end, in words a user can act on."""

from __future__ import annotations

import re
from pathlib import Path

from sightline.errors import SightlineError
from sightline.spec.home_file import EngineSettings

TAIL = 4_000
IS_WARNING = re.compile(r" (WARN|INFO) FileStreamSink|FileNotFoundException: File .*\*")
"""Spark looks for a folder of the name of each glob first, and warns that there is none."""
NO_WORKER = (
    "it has no worker with the cores and memory asked for",
    "start a worker, or ask for less: `spark.executor.memory`, `spark.cores.max` in `engine.conf`",
)
KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"InvalidClassException|serialVersionUID|incompatible",
        "the cluster runs another version of Spark than this driver",
        "install the cluster's version here, `pip install pyspark==<version>`, or this one there",
    ),
    (
        r"All masters are unresponsive|Failed to connect to master|Connection refused",
        "its master does not answer",
        "start the master, or correct `engine.master` in sightline.yaml",
    ),
    (
        r"java\.io\.FileNotFoundException|PATH_NOT_FOUND|FAILED_READ_FILE",
        "a worker does not see the files of the lake",
        "every worker must see the home folder (and `engine.work`) under the same path: share it, e.g. by NFS",
    ),
    (
        r"Permission denied|AccessControlException",
        "it has no right to the files",
        "give the user of the workers the right to read the home folder and to write `engine.work`",
    ),
    (
        r"OutOfMemoryError|Java heap space",
        "the driver or an executor ran out of memory",
        "raise `engine.memory` or `spark.executor.memory` in sightline.yaml",
    ),
)
"""Pattern in the log -> what is wrong, what to do; the first that fits."""


def of_session(
    log: Path, settings: EngineSettings, how: str, *, lacks_workers: bool = False, kept: Path | None = None
) -> SightlineError:
    """Why a session ended, as an error that names the cure.

    Parameters
    ----------
    log : Path
        What the session and its JVM have written.
    settings : EngineSettings
        Where Spark was to be.
    how : str
        What became of it.
    lacks_workers : bool
        Its master answered, and no executor did.
    kept : Path, optional
        Where the log will be found.
    """
    where = f"engine {settings.master}" + (f", its log: {kept}" if kept else "")
    text = log.read_text(errors="replace") if log.is_file() else ""
    _, is_raised, raised = text.rpartition("Traceback (most recent call last)")
    told = raised if is_raised else "\n".join(line for line in text.splitlines() if not IS_WARNING.search(line))
    for pattern, what, fix in KNOWN:
        if re.search(pattern, told):
            return SightlineError(f"Spark {how}: {what}", where=where, fix=fix)
    if lacks_workers:
        what, fix = NO_WORKER
        return SightlineError(f"Spark {how}: {what}", where=where, fix=fix)
    lines = [line for line in text[-TAIL:].splitlines() if line.strip()]
    last = f"; its last words: {' | '.join(lines[-3:])[:600]}" if lines else ""
    fix = "see `sightline doctor`; settings of Spark go to `engine.conf` in sightline.yaml"
    return SightlineError(f"Spark {how}{last}", where=where, fix=fix)

"""The child process that the kill tests of sources kill.

``python -m tests.support.source_kills HOME SPEC [KILL_AT]`` fetches and loads all in small batches, and kills itself
with SIGKILL at the KILL_AT-th step that changes a file, the manifest or the ledger.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline.home import Home
from sightline.lake.fetch import reading, run
from sightline.lake.fetch.spool import Spool
from sightline.lake.intake.load import intake
from sightline.spec.model import MonitorSpec
from tests.support.sources import fetch_all


def kill_at(step: int) -> None:
    """Kill this process before its step-th change, or right behind it where that is a commit."""
    seen = 0

    def counted(original: Callable[..., Any], *, behind: bool = False) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            done = original(*args, **kwargs)
            if behind:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)
            return done

        return call

    os.fsync = counted(os.fsync)
    for name in ("rename", "replace", "unlink"):
        setattr(Path, name, counted(getattr(Path, name)))
    for name in ("commit", "release", "answered"):
        setattr(Spool, name, counted(getattr(Spool, name), behind=True))


if __name__ == "__main__":
    reading.BATCH_ROWS = 40
    run.LOOK_ROWS = 100
    spec = MonitorSpec.model_validate_json(Path(sys.argv[2]).read_text(encoding="utf-8"))
    home = Home(Path(sys.argv[1]))
    if len(sys.argv) > 3:
        kill_at(int(sys.argv[3]))
    fetch_all(spec, home)
    intake(spec, home.monitor(spec.id), "inferences", home)

"""A sender that kills itself with -9 at a step of delivery: ``python outbox_sender.py HOME STEP N CHANGES``.

STEP names a method of the outbox or ``reach``, with ``before`` or ``after``; it dies at its N-th call. The real code
runs around it: a kill from outside cannot hit a step that lasts a millisecond. It puts so many changes in itself.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from sightline.alerts import outbox_file
from sightline.alerts.delivery import sending
from sightline.alerts.outbox import Outbox, enqueue
from sightline.errors import SightlineError
from sightline.home import Home
from tests.support.outbox import fact

STEPS = [
    f"{moment} {name}"
    for name in ("add", "route", "claim", "reach", "sent", "failed", "COMMIT")
    for moment in ("before", "after")
]


def arm(step: str, n: int) -> None:
    moment, name = step.split()
    calls = 0

    def wrapped(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if moment == "before" and calls == n:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **kwargs)
            if moment == "after" and calls == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    if name == "reach":
        sending.reach = wrapped(sending.reach)
    elif name == "COMMIT":  # within a transaction: all of it is there, or nothing
        real = outbox_file.OutboxFile._transaction

        def transaction(self):
            return _Dying(real(self), wrapped)

        outbox_file.OutboxFile._transaction = transaction
    else:
        setattr(Outbox, name, wrapped(getattr(Outbox, name)))


class _Dying:
    """A transaction that dies before or after it is committed."""

    def __init__(self, inner, wrapped):
        self._inner, self._exit = inner, wrapped(inner.__exit__)

    def __enter__(self):
        return self._inner.__enter__()

    def __exit__(self, *error):
        return self._exit(*error)


def main(home: str, step: str, n: str, changes: str) -> None:
    if step != "none":
        arm(step, int(n))
    while True:
        try:
            enqueue(Home(Path(home)), [fact(k) for k in range(int(changes))])
            sending.deliver(Home(Path(home)))
        except SightlineError as error:
            print(error, file=sys.stderr)
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])

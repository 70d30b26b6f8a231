"""A message by mail, Slack, Teams, PagerDuty and others, through `apprise` (the extra `notify`)."""

from __future__ import annotations

import json
import subprocess
import sys

from sightline.alerts.delivery import apprise_child
from sightline.alerts.delivery.outcome import TAKEN, Outcome

EXTRA = "pip install 'sightline[notify]'"
TOLD = {
    apprise_child.NOT_DELIVERED: "apprise could not deliver it",
    apprise_child.NOT_UNDERSTOOD: "apprise does not understand its address",
    apprise_child.NOT_INSTALLED: f"apprise is not installed: {EXTRA}",
}


def notify(url: str, title: str, body: str, *, is_markdown: bool, timeout: float) -> Outcome:
    """Send one message.

    It is sent by a process of its own: one that hangs is ended in time, and nothing that apprise logs is kept.

    Parameters
    ----------
    url : str
        As apprise takes it; holds secrets.
    title, body : str
        What to tell.
    is_markdown : bool
        Whether the body is Markdown.
    timeout : float
        Seconds for all of it.

    Returns
    -------
    Outcome
    """
    request = {"url": url, "title": title, "body": body, "format": "markdown" if is_markdown else "text"}
    command = [sys.executable, "-m", apprise_child.__name__]
    try:
        done = subprocess.run(  # noqa: S603 (this Python, without a shell)
            command,
            input=json.dumps(request).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(f"no answer within {timeout:g} s")
    except OSError as error:
        return Outcome(f"its process could not be started: {error.strerror}")
    if done.returncode == apprise_child.DELIVERED:
        return TAKEN
    return Outcome(TOLD.get(done.returncode, "its process ended early"))

"""``python -m sightline.alerts.delivery.apprise_child``: one message through apprise, in a process of its own.

It reads ``{"url", "title", "body", "format"}`` as JSON from its input, so that no list of processes shows the address,
and writes nothing: what apprise logs may repeat it. Exit code 0: delivered; 3: not delivered; 4: the address is not
understood; 5: apprise is not installed.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, cast

DELIVERED, NOT_DELIVERED, NOT_UNDERSTOOD, NOT_INSTALLED = 0, 3, 4, 5


def main() -> int:
    """Send what the input says; the exit code."""
    logging.disable(logging.CRITICAL)
    request = json.loads(sys.stdin.read())
    try:
        import apprise  # pyright: ignore[reportMissingImports]
    except ImportError:
        return NOT_INSTALLED
    sender = cast("Any", apprise).Apprise()
    if not sender.add(request["url"]):
        return NOT_UNDERSTOOD
    taken = sender.notify(
        title=request["title"], body=request["body"], body_format=request["format"], interpret_escapes=False
    )
    return DELIVERED if taken else NOT_DELIVERED


if __name__ == "__main__":
    sys.exit(main())

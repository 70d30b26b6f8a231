"""What a candidate version may be called: it names a folder, a file, a partition and a row of a page."""

from __future__ import annotations

import unicodedata

from sightline.errors import SightlineError
from sightline.lake.intake.sources import UNFINISHED

LONGEST, LONGEST_BYTES = 128, 180
"""Characters, and bytes in UTF-8: a file name holds 255, and the version stands in one with a time."""
TRAINING = "training"
"""A file or folder of this name beside an evaluation set is what the version was trained on."""
FIX = "letters, digits, dots, dashes and other printable characters, such as 4.2 or 2026-01-31-rc1"


def flaw_of(version: str) -> str:
    """Why a name cannot be that of a version; empty if it can."""
    size = len(version.encode("utf-8", "replace"))
    flaws = (
        (not version.strip(), "it is empty"),
        (not version.isprintable(), "it holds a character that cannot be seen"),
        (
            len(version) > LONGEST or size > LONGEST_BYTES,
            f"it is longer than {LONGEST} characters ({LONGEST_BYTES} bytes)",
        ),
        (any(sign in version for sign in "/\\,"), "it holds a slash, a backslash or a comma"),
        ("..." in version or version.startswith("."), "it begins with a dot or holds three of them"),
        (version != version.strip(), "it begins or ends with a space"),
        (version.lower().endswith(UNFINISHED), "it ends like a file that is still being copied"),
        (
            unicodedata.normalize("NFC", version) != version,
            "its accents are written apart from their letters (not in Unicode's form NFC)",
        ),
    )
    return next((text for is_flawed, text in flaws if is_flawed), "")


def check_version(version: str, where: str | None = None) -> None:
    """Refuse what cannot be the name of a version.

    Raises
    ------
    SightlineError
    """
    if flaw := flaw_of(version):
        raise SightlineError(f"{version[:40]!r} cannot name a version: {flaw}", where=where, fix=FIX)

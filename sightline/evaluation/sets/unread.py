"""Values of a file that cannot be read, in words."""

from __future__ import annotations

from collections.abc import Mapping

from metrics_py.wording import count

MOST_TOLD = 10


def words_of_unread(counts: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """Values that cannot be read, those that are most first.

    Parameters
    ----------
    counts : mapping of (str, str) to int
        Column and reason -> how many.
    """
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [
        f"{count(n, 'values')} of {column!r} cannot be used ({reason.replace('_', ' ')}): taken for missing"
        for (column, reason), n in most[:MOST_TOLD]
    ]
    return (*told, *([f"values of {count(len(most) - MOST_TOLD, 'further columns')}"] if len(most) > MOST_TOLD else []))

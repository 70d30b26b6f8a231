"""Write ``docs/evidence.md`` from what the simulations recorded: ``python -m tests.simulation.write_evidence``.

The simulations leave one JSON file each under ``tests/.artifacts/evidence``. The page holds nothing that is not in
them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "tests" / ".artifacts" / "evidence"
PAGE = ROOT / "docs" / "evidence.md"

HEADER = """# Promised and measured error rates

Every number below was measured by a simulation of the test suite, through the code that the product runs. The page is
written by the tests' own run:

```
make test-simulation test-full       # at a tenth of their size, then those of minutes in full
make evidence                         # this page
```

`n` is the number of repetitions (streams, monitors, data sets) behind each number. A promise "at most p" is kept where
at most so many repetitions fail as a rate of p exceeds with a probability of 1 %, and n is chosen so that a rate of 1.3
p fails with 90 % (`tests/support/acceptance.py`). Older simulations compare the counts with the promise by exact
binomial or Poisson intervals and fail where it does not hold.
"""

NOTES = {
    "Alert budget": """\
The promise `alerts.budget: 1 per 90d` is a threshold of c = 90 days on the evidence of all streams together: while
nothing changes, at most T / c incidents are expected in T days, however the streams depend on each other. What it
rests on:

- One-step predictions: given its past, a stream's next value is no more surprising than its p-value says. The p-value
  is the value's rank in the stream's own past; ties (a count that is zero on most days) get the interval of their
  ranks, averaged, and beyond the past the pooled tail of all streams decides. The tail may put a value two standard
  errors farther out than its rank, but only in streams whose past p-values by the tail are uniform
  (Kolmogorov-Smirnov at 1 %): elsewhere two standard errors a day add up to incidents over the years. So a skewed
  stream, or one that is zero on 85 % of its days, keeps the promise too. The statistics are still put on a symmetric
  scale first (logarithm, arcsine): a change is found sooner there.
- A calendar: weekday (hourly windows: hour of the week) means are learnt; holidays must be listed under
  `alerts.holidays`.
- How alike neighbouring windows are, from the stream's past, and not more than the other streams of the monitor make
  likely: a lasting change in a few streams does not explain itself away.
- A warm-up: 28 days (two weeks of hours, twelve weeks) before a stream may alarm; 56 days are better.
- A stream over seven days (columns with few rows) is credited with seven windows for each value, and warms up for
  twelve of them. Right after that a change may hide in the few values that it is compared with.
- A season of the year is a change to whoever has never seen one: in its first year it is an incident. From a year of
  windows on, two yearly harmonics are taken out of the values, where they explain the weeks better than level shifts.
- A process that wanders (a random walk, a first season) alarms, and rightly so. If nobody attends to it, an input is
  judged against its own recent level from then on (docs/decisions/0007): only sudden changes are told. Quality gets a
  new fixed level instead.
- Streams whose windows come late (labels) are judged after others of the same day; the case is simulated below.
- What lasts one window is hardly seen: evidence is spent on changes that stay, so a day of 8 standard deviations in one
  stream of 100 alarms in 2 % of cases. Who must hear of single days names a limit under `alerts.spikes`: a rule of the
  user's own, outside of the budget, whose false alarms are measured below.
- When some streams did change, the share of others in the same incident is small (purity below), but not budgeted.
- While a stream is part of an open incident it is muted: a second change of the same stream shows in
  `sightline incidents` ("moved again since"), not as another incident.
""",
}


def read(folder: Path = ARTIFACTS) -> list[dict[str, Any]]:
    """Entries of `evidence.record`, by section and name."""
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return sorted(entries, key=lambda entry: (entry["section"], _natural(entry["name"])))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which c90 comes before c365."""
    parts: list[tuple[int, str]] = []
    word = ""
    for letter in name:
        if word and letter.isdigit() != word[-1].isdigit():
            parts.append((int(word), "") if word.isdigit() else (-1, word))
            word = ""
        word += letter
    return [*parts, (int(word), "") if word.isdigit() else (-1, word)]


def _cells(measured: Any, case: str = "") -> Iterable[tuple[str, str]]:
    """Pairs (case, value) of a measured number, mapping or list."""
    if isinstance(measured, dict):
        for key, value in measured.items():
            yield from _cells(value, f"{case}, {key}" if case else str(key))
    elif isinstance(measured, list):
        for value in measured:
            yield from _cells(value, case)
    elif isinstance(measured, float):
        yield case, f"{measured:.4g}"
    else:
        yield case, str(measured)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def render(entries: list[dict[str, Any]]) -> str:
    """The page as Markdown."""
    lines = [HEADER]
    for section in dict.fromkeys(entry["section"] for entry in entries):
        lines += [
            f"## {section}",
            "",
            *([NOTES[section]] if section in NOTES else []),
            "| simulation | promised | case | measured | n |",
            "|---|---|---|---:|---:|",
        ]
        for entry in (entry for entry in entries if entry["section"] == section):
            name, promised = entry["name"], entry["promised"]
            for case, value in _cells(entry["measured"]):
                cells = (name, _escape(promised), _escape(case), _escape(value), f"{entry['n']:,}")
                lines.append("| " + " | ".join(cells) + " |")
                name = promised = ""
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Write the page; fails if no simulation has run."""
    entries = read()
    if not entries:
        print(f"{ARTIFACTS}: no recorded simulation\n  fix: run pytest tests/simulation first", file=sys.stderr)
        return 2
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(entries), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(entries)} simulations")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How far each window has been worked up: which ledger position, reference and moment its latest complete run knew.

Kept beside the batches in the monitor's ledger (SQLite), written by the assets themselves. The sensors compare it with
what the ledger holds now; so a run started by hand counts like any other, and a lost sensor cursor loses nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sightline.lake.store.ledger import Ledger, open_ledger, utc_text
from sightline.spec.flows import FLOWS

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS aggregated(
    flow TEXT NOT NULL, window_key TEXT NOT NULL, position INTEGER NOT NULL, reference TEXT NOT NULL,
    PRIMARY KEY (flow, window_key))""",
    """CREATE TABLE IF NOT EXISTS judged(
    asset TEXT NOT NULL, window_key TEXT NOT NULL, position INTEGER NOT NULL, reference TEXT NOT NULL,
    judged_at TEXT NOT NULL, run_id TEXT NOT NULL, alerted INTEGER NOT NULL, PRIMARY KEY (asset, window_key))""",
)


@dataclass(frozen=True)
class Done:
    """What the latest complete run of a flow over one window knew."""

    position: int
    """Newest row of the ledger's ``window_changes`` it could see."""
    at: datetime
    """When it judged."""
    reference: str
    """Id of the reference profile it used; empty when there was none yet."""


class Progress:
    """Reads and writes the progress of one monitor; open it with `open_progress`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.con = ledger, ledger.con

    def position(self) -> int:
        """The ledger's newest position; read it before aggregating."""
        return self.con.execute("SELECT coalesce(max(seq), 0) FROM window_changes").fetchone()[0]

    def changes(self, kinds: Sequence[str]) -> dict[str, int]:
        """Window key -> its newest position in the ledger, over changes of these kinds."""
        marks = ",".join("?" * len(kinds))
        sql = (
            "SELECT window_key, max(seq) FROM window_changes "  # noqa: S608 (question marks only)
            f"WHERE kind IN ({marks}) GROUP BY 1"
        )
        return dict(self.con.execute(sql, list(kinds)))

    def first_received(self, kind: str, key: str) -> datetime | None:
        """When the first rows of a window were received, whenever they were loaded; None while there are none."""
        sql = """SELECT min(received_at) FROM window_changes JOIN batches USING (batch_id)
                 WHERE window_changes.kind = ? AND window_key = ? AND window_changes.n_rows > 0"""
        found = self.con.execute(sql, [kind, key]).fetchone()[0]
        return None if found is None else datetime.fromisoformat(found).astimezone(UTC)

    def rows(self, kind: str, keys: Iterable[str]) -> dict[str, int]:
        """Window key -> rows of a kind accepted so far."""
        sql = "SELECT window_key, sum(n_rows) FROM window_changes WHERE kind = ? GROUP BY 1"
        wanted = set(keys)
        return {key: n for key, n in self.con.execute(sql, [kind]) if key in wanted}

    def write_aggregated(self, flow: str, keys: Iterable[str], position: int, reference: str) -> None:
        """The aggregates of these windows hold everything up to `position`, binned by this reference."""
        rows = [(flow, key, position, reference) for key in keys]
        with self.ledger.transaction():
            self.con.executemany(
                "INSERT OR REPLACE INTO aggregated(flow, window_key, position, reference) VALUES (?, ?, ?, ?)", rows
            )

    def write_judged(self, flow: str, asset: str, keys: Iterable[str], at: datetime, run_id: str) -> None:
        """An asset has judged the aggregates of these windows as they stand."""
        sql = """INSERT INTO judged(asset, window_key, position, reference, judged_at, run_id, alerted)
                 SELECT ?, window_key, position, reference, ?, ?, 0 FROM aggregated WHERE flow = ? AND window_key = ?
                 ON CONFLICT (asset, window_key) DO UPDATE SET judged_at = excluded.judged_at, run_id = excluded.run_id,
                 alerted = CASE WHEN judged.position = excluded.position AND judged.reference = excluded.reference
                                THEN judged.alerted ELSE 0 END,
                 position = excluded.position, reference = excluded.reference"""
        with self.ledger.transaction():
            self.con.executemany(sql, [(asset, utc_text(at), run_id, flow, key) for key in keys])

    def write_alerted(self, run_id: str) -> None:
        """The alert engine has seen what this run judged."""
        with self.ledger.transaction():
            self.con.execute("UPDATE judged SET alerted = 1 WHERE run_id = ?", [run_id])

    def forget(self) -> None:
        """All windows are to be aggregated and judged again."""
        with self.ledger.transaction():
            self.con.execute("DELETE FROM aggregated")
            self.con.execute("DELETE FROM judged")

    def reference_of(self, flow: str, keys: Iterable[str]) -> dict[str, str]:
        """Window key -> id of the reference its aggregates were binned by."""
        wanted = set(keys)
        sql = "SELECT window_key, reference FROM aggregated WHERE flow = ?"
        return {key: reference for key, reference in self.con.execute(sql, [flow]) if key in wanted}

    def judged(self, asset: str) -> dict[str, str]:
        """Window key -> id of the reference under which an asset judged it last."""
        sql = "SELECT window_key, reference FROM judged WHERE asset = ?"
        return dict(self.con.execute(sql, [asset]))

    def done(self, flow: str) -> dict[str, Done]:
        """Windows whose flow is complete, judged and seen by the alert engine."""
        assets = FLOWS[flow].judges
        marks = ",".join("?" * len(assets))
        sql = f"""SELECT window_key, min(position), min(judged_at), min(reference) FROM judged
                  WHERE alerted = 1 AND asset IN ({marks}) GROUP BY 1 HAVING count(*) = ?"""  # noqa: S608 (marks only)
        rows = self.con.execute(sql, [*assets, len(assets)])
        return {
            key: Done(position, datetime.fromisoformat(at).astimezone(UTC), reference)
            for key, position, at, reference in rows
        }


@contextmanager
def open_progress(ledger_path: Path) -> Generator[Progress]:
    """Open the progress tables inside a monitor's ledger.

    Parameters
    ----------
    ledger_path : Path
        `MonitorPaths.ledger`; made when absent.
    """
    with open_ledger(ledger_path) as ledger:
        if not ledger.con.execute("SELECT 1 FROM sqlite_master WHERE name = 'judged'").fetchone():
            with ledger.transaction() as con:
                for statement in _SCHEMA:
                    con.execute(statement)
        yield Progress(ledger)

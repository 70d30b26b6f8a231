"""From what users and serving systems deliver to the lake: Parquet per window, a ledger of what is loaded, a quarantine."""

from sightline.lake.intake import IntakeReport, intake
from sightline.lake.peek import label_windows_waiting, peek_windows, windows_of
from sightline.lake.sources import Batch, list_batches, pending
from sightline.lake.store import scan_lake

__all__ = [
    "Batch",
    "IntakeReport",
    "intake",
    "label_windows_waiting",
    "list_batches",
    "peek_windows",
    "pending",
    "scan_lake",
    "windows_of",
]

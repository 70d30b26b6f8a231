"""Access to a monitor's DuckDB file, the views over its lake, and the frozen reference."""

from sightline.warehouse.connection import connect
from sightline.warehouse.control import write_control
from sightline.warehouse.reference import build_reference, ensure_reference, load_reference
from sightline.warehouse.views import prepare

__all__ = ["build_reference", "connect", "ensure_reference", "load_reference", "prepare", "write_control"]

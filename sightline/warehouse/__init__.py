"""Access to a monitor's DuckDB file, the views over its lake, and the published results."""

from sightline.warehouse.connection import connect
from sightline.warehouse.views import prepare

__all__ = ["connect", "prepare"]

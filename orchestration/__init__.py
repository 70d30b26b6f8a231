"""The Dagster code location: monitors become assets, checks, jobs and sensors."""

import warnings

# Partitioned checks (preview) and backfill policies (beta) are used on purpose; the pins in pyproject.toml hold their
# shape.
warnings.filterwarnings("ignore", message=r".*currently in (beta|preview)")

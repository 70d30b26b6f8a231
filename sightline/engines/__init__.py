"""What computes the aggregates: DuckDB in the process of the run, or Spark in a session beside it."""

from sightline.engines.choice import Told, build_models, engine_of

__all__ = ["Told", "build_models", "engine_of"]

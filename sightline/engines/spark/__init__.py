"""The aggregates on Spark: the same dbt models over the same lake, in a session of its own per run."""

from sightline.engines.spark.run import build, session_answers

__all__ = ["build", "session_answers"]

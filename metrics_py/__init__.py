"""Statistics for model monitoring: pure functions on arrays, frames and mergeable aggregates."""

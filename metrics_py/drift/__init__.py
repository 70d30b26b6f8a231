"""Drift of one column: distances, tests, effects with intervals, daily statistics for alerts, and words for people."""

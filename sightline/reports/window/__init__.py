"""The report of one window of a monitor: what happened, since when, why, what to do."""

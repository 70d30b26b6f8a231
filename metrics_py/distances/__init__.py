"""Distances between a reference and current data: `binned` from counts in frozen bins, `exact` from the values."""

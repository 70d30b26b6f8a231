"""Metrics that users write, in SQL or in Python: what is wrong with them, and how they are loaded."""

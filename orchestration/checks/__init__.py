"""Verdicts as asset checks."""

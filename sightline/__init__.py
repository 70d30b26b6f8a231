"""Sightline: ML observability as software-defined assets. This package is everything that talks to the outside."""

__version__ = "0.1.0"

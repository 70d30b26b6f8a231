"""A year of real flights out of New York, replayed through Sightline: ``python -m demo``."""

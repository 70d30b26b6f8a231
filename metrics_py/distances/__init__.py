"""Distances between a reference and current data.

`metrics_py.distances.binned` works on counts in frozen bins, vectorised over windows and columns;
`metrics_py.distances.exact` on the values themselves.
"""

from metrics_py.distances import binned, exact

__all__ = ["binned", "exact"]

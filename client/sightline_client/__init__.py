"""Logging client of Sightline: one line in serving code, standard library only.

>>> from sightline_client import Client
>>> log = Client("flight_delay", url="http://127.0.0.1:8700")                                   # doctest: +SKIP
>>> log.prediction("UA1545-2013-01-01", features={"distance": 1400}, score=0.31, version="v3")  # doctest: +SKIP
>>> log.label("UA1545-2013-01-01", 1)                                                           # doctest: +SKIP
"""

from sightline_client.client import Client
from sightline_client.errors import SightlineClientError
from sightline_client.middleware import ASGIMiddleware, WSGIMiddleware
from sightline_client.wrap import current_prediction_id

__version__ = "0.1.0"
__all__ = ["ASGIMiddleware", "Client", "SightlineClientError", "WSGIMiddleware", "current_prediction_id"]

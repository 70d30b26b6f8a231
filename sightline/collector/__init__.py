"""The HTTP service that takes events: requests, wire formats, limits and row guards."""

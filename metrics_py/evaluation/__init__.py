"""Is a candidate good enough to take the champion's place? Differences of metrics, and a verdict with four outcomes."""

"""Any two tables compared column by column: what `metrics_py.compare` does."""

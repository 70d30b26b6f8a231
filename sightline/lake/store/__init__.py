"""What is loaded: Parquet parts per window, the ledger that says which of them count, and their merging."""

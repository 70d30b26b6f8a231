"""The dashboard: pages about models, drawn from published Parquet alone."""

"""From what users and serving systems deliver to Parquet per window: `intake` loads it, `store` holds it."""

"""From delivered batches to canonical rows: find, read, convert, deduplicate, match labels, load."""

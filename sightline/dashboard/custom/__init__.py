"""A user's own pages: rows of panels, and queries over published tables in a closed DuckDB."""

"""All that leans on Dagster's private API, in one place; each module says why, and when it can go."""

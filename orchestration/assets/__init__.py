"""What Dagster materializes: intake, aggregates, judgements, alerts and the reference of each monitor."""

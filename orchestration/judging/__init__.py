"""From the warehouse's aggregates to judgements and evidence: tables in, tables out, no Dagster, one pass over all windows of a run."""

"""From aggregates to judgements, evidence and one verdict per check and window."""

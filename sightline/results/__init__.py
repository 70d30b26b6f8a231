"""Published results as files that readers open without a lock: judgements, evidence, snapshots, actions."""

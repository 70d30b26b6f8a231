"""The append-only log: segment format, writer with group commit, verifying reader, recovery."""

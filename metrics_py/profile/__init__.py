"""Frozen profiles of reference columns: bins that never move, and counts per bin that merge by addition."""

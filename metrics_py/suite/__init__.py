"""Test suites: bounds on facts of a table, on drift and on model quality; drafted from a reference."""

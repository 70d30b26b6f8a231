"""Quality that nobody has seen the labels of yet, estimated."""

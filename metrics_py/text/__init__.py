"""Texts: descriptors, and the words that became more or less frequent."""

"""Evaluation sets: labelled rows of a candidate, and the same or other rows of its champion."""

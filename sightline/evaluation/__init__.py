"""The evaluation of a candidate model: its rows, the champion it is compared with, a verdict, and how it is told."""

"""When to retrain: how fast a model ages, how often that pays, and whether more or newer data help."""

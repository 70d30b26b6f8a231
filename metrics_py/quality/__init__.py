"""Quality of a model's answers: metrics per task from additive aggregates, with intervals; two models compared."""

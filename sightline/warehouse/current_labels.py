"""Which label of a prediction counts: the relation ``raw.current_labels``, which Python reads.

dbt's ``int_labels_current`` says the same of the windows of a run without grouping labels that were never revised; a
test holds the two equal.

Every revision of a label is kept in the lake. The one that was observed last counts, of those observed at one time the
one that arrived last: `sightline.lake.store.schema` says in which order they arrived. So it does not matter in which
order files are delivered, and what was known at an earlier moment follows from the revisions observed by then.
"""

CURRENT_LABELS = """SELECT window_key, window_start, prediction_id,
    max_by(label_class, (observed_at, revision_order)) AS label_class,
    max_by(label_value, (observed_at, revision_order)) AS label_value,
    min(observed_at) AS first_observed_at, count(DISTINCT coalesce(label_class, label_value::VARCHAR)) AS n_values
FROM raw.labels GROUP BY window_key, window_start, prediction_id"""
"""The revision of each prediction that was observed last, then arrived last."""

"""Which label of a prediction counts: the relation ``raw.current_labels``, which Python reads.

dbt's ``int_labels_current`` says the same of the windows of a run without grouping labels that were never revised; a
test holds the two equal.

Every revision of a label is kept in the lake; `sightline.lake.store.schema` says in which order they stand.
"""

CURRENT_LABELS = """SELECT window_key, window_start, prediction_id,
    max_by(label_class, revision_order) AS label_class, max_by(label_value, revision_order) AS label_value,
    min(received_at) AS first_received_at, count(*) AS n_revisions
FROM raw.labels GROUP BY window_key, window_start, prediction_id"""
"""The revision with the largest `revision_order` of each prediction."""

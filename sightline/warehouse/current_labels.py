"""Which label of a prediction counts: the relation ``raw.current_labels``, which Python reads.

dbt's ``int_labels_current`` says the same of the windows of a run without grouping labels that were never revised; a
test holds the two equal.

Every revision of a label is kept in the lake, and so is every retraction: a revision that takes the label back. The one
that was observed last counts. Of those observed at one time it is the one that was received last (a file is received
when it was written, an event when it was logged), of those in one file the one further down, of those that are equal in
all that a retraction before a value, then the larger value. If it is a retraction, the prediction has no label.

Nothing of this depends on when a file is loaded: the times are those of the events and files themselves. What was known
at an earlier moment follows from the revisions observed by then.
"""

ORDER = """(observed_at, received_at, revision_order % 4294967296, coalesce(is_retracted, false),
    coalesce(label_class, label_value::VARCHAR, ''))"""
"""The order of the revisions of one prediction; the remainder is the row's place in its file or segment."""

CURRENT_LABELS = f"""SELECT window_key, window_start, prediction_id,
    max_by(label_class, {ORDER}) AS label_class, max_by(label_value, {ORDER}) AS label_value,
    min(observed_at) FILTER (WHERE is_retracted IS NOT true) AS first_observed_at,
    count(DISTINCT coalesce(label_class, label_value::VARCHAR)) AS n_values
FROM raw.labels GROUP BY window_key, window_start, prediction_id
HAVING NOT max_by(coalesce(is_retracted, false), {ORDER})"""  # noqa: S608 (constants)
"""The label of each prediction that has one."""

{{ config(materialized='ephemeral') }}

select window_start, prediction_id, label_class, label_value, first_received_at, n_revisions
from {{ ref('stg_labels') }}
where {{ in_windows() }}

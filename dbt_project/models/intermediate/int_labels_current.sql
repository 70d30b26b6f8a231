{{ config(materialized='ephemeral') }}

select
    window_key,
    prediction_id,
    {{ latest('label_class', 'revision_order') }} as label_class,
    {{ latest('label_value', 'revision_order') }} as label_value,
    min(received_at) as first_received_at,
    count(*) as n_revisions
from {{ ref('stg_labels') }}
where {{ in_windows() }}
group by window_key, prediction_id

{{ config(materialized='ephemeral') }}

select
    window_start,
    prediction_id,
    {{ latest('label_class', 'revision_order') if task() not in ('regression', 'ranking') else as_text('null') }} as label_class,
    {{ latest('label_value', 'revision_order') if task() in ('regression', 'ranking') else as_double('null') }} as label_value,
    min(received_at) as first_received_at,
    count(*) as n_revisions
from {{ ref('stg_labels') }}
where {{ in_windows() }}
group by window_start, prediction_id

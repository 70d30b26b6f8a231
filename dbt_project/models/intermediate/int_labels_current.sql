{# The revision observed last counts, then the one that arrived last, as in the view raw.current_labels. Most labels are
   never revised: only those whose short key
   comes more than once are grouped by their ids. #}
{{ config(materialized='ephemeral') }}

with labels as (
    select
        window_start,
        prediction_id,
        label_class,
        label_value,
        observed_at,
        revision_order,
        {{ short_key('prediction_id') }} as short_key
    from {{ ref('stg_labels') }}
    where {{ in_windows() }}
),

repeated as (
    select short_key from labels group by short_key having count(*) > 1
)

select
    labels.window_start,
    labels.prediction_id,
    labels.label_class,
    labels.label_value,
    labels.observed_at as first_observed_at,
    {{ as_bigint('1') }} as n_values
from labels
left join repeated on labels.short_key = repeated.short_key
where repeated.short_key is null
union all
select
    labels.window_start,
    labels.prediction_id,
    max_by(labels.label_class, {{ pair('labels.observed_at', 'labels.revision_order') }}) as label_class,
    max_by(labels.label_value, {{ pair('labels.observed_at', 'labels.revision_order') }}) as label_value,
    min(labels.observed_at) as first_observed_at,
    count(distinct coalesce(labels.label_class, {{ as_text('labels.label_value') }})) as n_values
from labels
inner join repeated on labels.short_key = repeated.short_key
group by labels.window_start, labels.prediction_id

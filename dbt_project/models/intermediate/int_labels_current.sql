{# The revision that is the last by label_order() counts, as in the view raw.current_labels; if it takes the label back, there
   is none. Most labels are never revised: only those whose short key comes more than once are grouped by their ids. #}
{{ config(materialized='ephemeral') }}

with labels as {{ read_anew() }} (
    select
        window_start,
        prediction_id,
        label_class,
        label_value,
        observed_at,
        received_at,
        revision_order,
        coalesce(is_retracted, false) as is_retracted,
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
where repeated.short_key is null and not labels.is_retracted
union all
select
    labels.window_start,
    labels.prediction_id,
    max_by(labels.label_class, {{ label_order('labels.') }}) as label_class,
    max_by(labels.label_value, {{ label_order('labels.') }}) as label_value,
    min(case when not labels.is_retracted then labels.observed_at end) as first_observed_at,
    count(distinct coalesce(labels.label_class, {{ as_text('labels.label_value') }})) as n_values
from labels
inner join repeated on labels.short_key = repeated.short_key
group by labels.window_start, labels.prediction_id
having not max_by(labels.is_retracted, {{ label_order('labels.') }})

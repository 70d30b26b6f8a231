{# The revision that is the last by label_order() counts, as in the view raw.current_labels; if it takes the label back, there
   is none. Most labels are never revised: only those whose short key comes more than once are grouped by their ids, and nothing
   is searched where the intake knows that each prediction has one row. #}
{{ config(materialized='ephemeral') }}
{% set repeating = windows_with_repeated_labels() %}

{% if not repeating %}
select
    window_start,
    prediction_id,
    label_class,
    label_value,
    observed_at as first_observed_at,
    {{ as_bigint('1') }} as n_values
from {{ ref('stg_labels') }}
where {{ in_windows() }} and not coalesce(is_retracted, false)
{% else %}
with labels as {{ read_anew() }} (
    select
        window_key,
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
    select short_key from labels
    {% if repeating | length < control_windows() | length %}
    where window_key in ({{ string_list(repeating | map(attribute='window_key')) }})
    {% endif %}
    group by short_key having count(*) > 1
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
{% endif %}

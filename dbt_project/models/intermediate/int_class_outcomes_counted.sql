-- depends_on: {{ ref('stg_inferences') }}, {{ ref('int_labels_current') }}
{# Makes: one SELECT per class over the joined labels, all united; an empty table without class scores. #}
{# Several classes only: how often rows of a score and a decision are of each class, from which quality is estimated. #}
{{ config(materialized='batched_table') }}

{%- if estimates_classes() %}
with joined as (
    {{ labelled_predictions(['inferences.predicted_class as logged_class'] + named_class_scores('inferences')) }}
),

decided as (
    select
        *,
        {{ decided_class() }} as predicted_class
    from joined
    where label_class is not null
),

classes as (
    {{ by_class('decided', ['label_class = {class} as is_positive']) }}
)

{{ by_segment('classes', ['predicted_class', 'class_name', 'score_bin', 'is_positive'], ['count(*) as n'], has_buckets=false) }}
{%- else %}
select
    window_key,
    model_version,
    'all' as segment,
    '' as predicted_class,
    '' as class_name,
    0 as score_bin,
    false as is_positive,
    0 as n
from {{ ref('stg_inferences') }}
where {{ in_windows() }} and false
{%- endif %}

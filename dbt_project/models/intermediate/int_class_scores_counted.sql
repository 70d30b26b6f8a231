-- depends_on: {{ ref('stg_inferences') }}, {{ ref('int_labels_current') }}
{# Makes: one SELECT per class over the joined labels, all united; an empty table without class scores. Compiled: docs/compiled_sql.md #}
{# Multiclass only: score histograms of every class against the rest. #}
{{ config(materialized='batched_table') }}

{%- if has_class_scores() %}
with joined as (
    {{ labelled_predictions(named_class_scores('inferences')) }}
),

forecasts as (
    select
        *,
        {{ probability_of_truth() }} as truth
    from joined
),

scores as (
    {%- for name in score_classes() %}
    select
        window_key,
        model_version,
        {{ cell_names() }}
        bucket,
        {{ string_literal(name) }} as class_name,
        {{ class_score_names()[loop.index0] }} as score,
        {{ score_bin(class_score_names()[loop.index0], 256) }} as score_bin,
        label_class = {{ string_literal(name) }} as is_positive,
        label_class,
        coalesce({{ score_bin('truth', 10) }}, -1) as score_group
    from forecasts
    where {{ class_score_names()[loop.index0] }} is not null and label_class is not null
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
)

{{ by_segment('scores', ['class_name', 'score_bin', 'is_positive', 'label_class', 'score_group'], ['count(*) as n', 'sum(score) as sum_score']) }}
{%- else %}
select
    window_key,
    model_version,
    'all' as segment,
    0 as bucket,
    '' as class_name,
    0 as score_bin,
    false as is_positive,
    '' as label_class,
    -1 as score_group,
    0 as n,
    {{ as_double('null') }} as sum_score
from {{ ref('stg_inferences') }}
where {{ in_windows() }} and false
{%- endif %}

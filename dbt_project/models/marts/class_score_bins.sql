{# Makes: one SELECT per class over the predictions, united; then one sum per segment; an empty table without class scores. #}
{# What the scores of all predictions of several classes say: quality is estimated from it before any label comes. #}
{# Tables of an earlier release have no n_improper: it is added, null in the rows that are there. #}
{{ config(on_schema_change='append_new_columns') }}
{%- set sums = ['sum_log_loss', 'sum_score', 'sum_squared_score'] %}

{%- if estimates_classes() %}
with scored as (
    select
        window_key,
        model_version,
        {{ cell_columns() }}
        predicted_class as logged_class,
        {{ named_class_scores('inferences') | join(',\n        ') }}
    from {{ ref('stg_inferences') }} as inferences
    where {{ in_windows() }}
),

decided as (
    select
        *,
        {{ decided_class() }} as predicted_class
    from scored
),

classes as (
    {{ by_class('decided', [is_improper() ~ ' as is_improper']) }}
),

segments as (
    {{ by_segment('classes', ['predicted_class', 'class_name', 'score_bin'], [
        'count(*) as n',
        'sum(-ln(' ~ clipped('score') ~ ')) as sum_log_loss',
        'sum(score) as sum_score',
        'sum(score * score) as sum_squared_score',
        count_where('is_improper') ~ ' as n_improper',
    ], has_buckets=false) }}
),
{%- else %}
with segments as (
    select
        window_key,
        model_version,
        'all' as segment,
        predicted_class,
        '' as class_name,
        0 as score_bin,
        0 as n,
        0 as n_improper
        {%- for name in sums %},
        0e0 as {{ name }}
        {%- endfor %}
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }} and false
),
{%- endif %}

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.predicted_class,
        segments.class_name,
        {{ as_int('segments.score_bin') }} as score_bin,
        {{ as_bigint('segments.n') }} as n
        {%- for name in sums %},
        {{ as_double('segments.' ~ name) }} as {{ name }}
        {%- endfor %},
        {{ as_bigint('segments.n_improper') }} as n_improper
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

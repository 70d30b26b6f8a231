{# Makes: one SELECT per group of segments, united; then one sum per segment; an empty table for other tasks. #}
{# What the scores of all predictions say, labelled or not: quality is estimated from it before any label comes. #}
{%- set is_binary = task() == 'binary_classification' %}
{%- set sums = ['sum_score', 'sum_squared_score', 'sum_log_loss_positive', 'sum_log_loss_negative'] %}

{%- if is_binary %}
with decided as (
    select
        window_key,
        model_version,
        {{ cell_columns() }}
        predicted_class as logged_class,
        {{ finite('score') }} as score
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }} and {{ finite('score') }} is not null
),

scored as (
    select
        *,
        {{ decided_class() }} as predicted_class,
        {{ score_bin('score', 256) }} as score_bin
    from decided
),

segments as (
    {{ by_segment('scored', ['predicted_class', 'score_bin'], [
        'count(*) as n',
        'sum(score) as sum_score',
        'sum(score * score) as sum_squared_score',
        'sum(-ln(' ~ clipped('score') ~ ')) as sum_log_loss_positive',
        'sum(-ln(' ~ clipped('1e0 - score') ~ ')) as sum_log_loss_negative',
    ], has_buckets=false) }}
),
{%- else %}
with segments as (
    select
        window_key,
        model_version,
        'all' as segment,
        predicted_class,
        {{ as_int('null') }} as score_bin,
        0 as n
        {%- for name in sums %},
        {{ as_double('null') }} as {{ name }}
        {%- endfor %}
    from {{ ref('stg_inferences') }}
    where 1 = 0
),
{%- endif %}

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.predicted_class,
        segments.score_bin,
        {{ as_bigint('segments.n') }} as n
        {%- for name in sums %},
        {{ as_double('segments.' ~ name) }} as {{ name }}
        {%- endfor %}
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

{# Makes: sums per user's metric or per quantile of the pinball loss, united. Compiled: docs/compiled_sql.md #}
{%- set is_classifier = task() in ('binary_classification', 'multiclass_classification') %}
{%- set metrics = custom_metrics(needs_label=true) if is_classifier else [] %}

with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where not is_delay
),

evaluated as (
    select * from {{ of_this_run(ref('int_custom_metrics_evaluated')) }}
),

user_cells as (
    {%- if metrics %}
    {{ metric_sums(metrics, 'evaluated', ['label_class', 'score_group']) }}
    {%- else %}
    select
        window_key,
        model_version,
        'all' as segment,
        0 as bucket,
        label_class,
        score_group,
        '' as metric,
        {{ as_bigint('0') }} as n,
        {{ as_double('0') }} as sum_value
    from evaluated
    where false
    {%- endif %}
),

segments as (
    select window_key, model_version, segment, bucket, label_class, score_group, metric, n, sum_value
    from user_cells
    {%- for q in pinball_quantiles() %}
    union all
    select
        window_key,
        model_version,
        segment,
        bucket,
        '' as label_class,
        coalesce(score_group, -1) as score_group,
        {{ string_literal('pinball_' ~ ('%g' | format(q))) }} as metric,
        sum(n_score) as n,
        sum(sum_pinball_{{ loop.index0 }}) as sum_value
    from outcomes
    where n_score > 0
    group by window_key, model_version, segment, bucket, coalesce(score_group, -1)
    {%- endfor %}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.bucket,
        segments.metric,
        segments.label_class,
        {{ as_int('segments.score_group') }} as score_group,
        {{ as_bigint('segments.n') }} as n,
        {{ as_double('segments.sum_value') }} as sum_value
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

{# Makes: sums per user's metric, per quantile of the pinball loss and of the value matrix, and of ranking one per metric, united, then one sum per segment. Compiled: docs/compiled_sql.md #}
{%- set matrix = fromjson(setting('value_matrix', '{}')) %}

with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where not is_delay
),

evaluated as (
    select * from {{ of_this_run(ref('int_custom_metrics_evaluated')) }}
),

queries as (
    select * from {{ of_this_run(ref('int_queries_ranked')) }}
),

user_sums as (
    {{ metric_sums(custom_metrics(needs_label=true), 'evaluated') }}
),

valued as (
    select *, {{ business_value(matrix) }} as business_value
    from outcomes
),

segments as (
    select window_key, model_version, segment, bucket, metric, n, sum_value, sum_value_sq
    from user_sums
    {%- if matrix %}
    union all
    select
        window_key,
        model_version,
        segment,
        bucket,
        'value' as metric,
        sum(n) as n,
        sum(n * business_value) as sum_value,
        sum(n * business_value * business_value) as sum_value_sq
    from valued
    where business_value is not null
    group by window_key, model_version, segment, bucket
    {%- endif %}
    {%- for q in pinball_quantiles() %}
    union all
    select
        window_key,
        model_version,
        segment,
        bucket,
        {{ string_literal('pinball_' ~ ('%g' | format(q))) }} as metric,
        sum(n_score) as n,
        sum(sum_pinball_{{ loop.index0 }}) as sum_value,
        sum(sum_pinball_sq_{{ loop.index0 }}) as sum_value_sq
    from outcomes
    where n_score > 0
    group by window_key, model_version, segment, bucket
    {%- endfor %}
    {%- for metric in ranking_metrics() if task() == 'ranking' %}
    union all
    select
        window_key,
        model_version,
        segment,
        bucket,
        {{ string_literal(metric.name) }} as metric,
        count({{ metric.value }}) as n,
        sum({{ metric.value }}) as sum_value,
        sum({{ metric.value }} * {{ metric.value }}) as sum_value_sq
    from queries
    where {{ metric.value }} is not null
    group by window_key, model_version, segment, bucket
    {%- endfor %}
),

final as (
    {{ metric_rows('segments') }}
)

select * from final

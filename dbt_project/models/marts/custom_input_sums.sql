{%- set metrics = [] %}
{%- for metric in custom_metrics(needs_label=false) %}{% do metrics.append(dict(metric, relation='evaluated')) %}{% endfor %}

with evaluated as (
    select
        window_key,
        model_version,
        {{ cell_columns() }}
        {%- for metric in metrics %}
        {{ finite(as_double('(' ~ metric.sql ~ ')')) }} as {{ metric.value }},
        {%- endfor %}
        bucket
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }}
),

sums as (
    {{ metric_sums(metrics) }}
),

final as (
    select
        sums.window_key,
        windows.window_start,
        sums.model_version,
        sums.segment,
        sums.bucket,
        sums.metric,
        {{ as_bigint('sums.n') }} as n,
        {{ as_double('sums.sum_value') }} as sum_value,
        {{ as_double('sums.sum_value_sq') }} as sum_value_sq
    from sums
    inner join {{ windows_table() }} as windows on sums.window_key = windows.window_key
)

select * from final

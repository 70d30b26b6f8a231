{%- set metrics = custom_metrics(needs_label=false) %}

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

segments as (
    {{ metric_sums(metrics, 'evaluated') }}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.bucket,
        segments.metric,
        {{ as_bigint('segments.n') }} as n,
        {{ as_double('segments.sum_value') }} as sum_value,
        {{ as_double('segments.sum_value_sq') }} as sum_value_sq
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

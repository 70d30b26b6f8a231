{# Makes: one SELECT per group of segments, united; then one sum per segment. Compiled: docs/compiled_sql.md #}
with cells as (
    {%- for group in segment_groups() %}
    select
        {{ group }} as cell_group,
        window_key,
        model_version,
        {{ cell_columns(group) }}
        count(*) as n_rows,
        {{ count_where('is_error') }} as n_errors,
        count(latency_ms) as n_latency,
        sum({{ finite('latency_ms') }}) as sum_latency_ms,
        max({{ finite('latency_ms') }}) as max_latency_ms,
        sum(weight) as sum_weight,
        min(predicted_at) as first_predicted_at,
        max(predicted_at) as last_predicted_at,
        max(received_at) as last_received_at
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }}
    group by {{ cell_names() }} window_key, model_version
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

segments as (
    {{ roll_up('cells', [], [
        'sum(n_rows) as n_rows', 'sum(n_errors) as n_errors', 'sum(n_latency) as n_latency',
        'sum(sum_latency_ms) as sum_latency_ms', 'max(max_latency_ms) as max_latency_ms', 'sum(sum_weight) as sum_weight',
        'min(first_predicted_at) as first_predicted_at', 'max(last_predicted_at) as last_predicted_at',
        'max(last_received_at) as last_received_at',
    ]) }}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        {{ as_bigint('segments.n_rows') }} as n_rows,
        {{ as_bigint('segments.n_errors') }} as n_errors,
        {{ as_bigint('segments.n_latency') }} as n_latency,
        {{ as_double('segments.sum_latency_ms') }} as sum_latency_ms,
        {{ as_double('segments.max_latency_ms') }} as max_latency_ms,
        {{ as_double('segments.sum_weight') }} as sum_weight,
        segments.first_predicted_at,
        segments.last_predicted_at,
        segments.last_received_at
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

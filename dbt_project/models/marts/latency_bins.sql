{# Makes: one SELECT per group of segments, united; then one sum per segment. Compiled: docs/compiled_sql.md #}
with cells as (
    {%- for group in segment_groups() %}
    select
        {{ group }} as cell_group,
        window_key,
        model_version,
        {{ cell_columns(group) }}
        {{ as_int('ceil(ln(greatest(latency_ms, 1e-3)) / ln(1.02e0))') }} as bin,
        count(*) as n
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }} and {{ finite('latency_ms') }} is not null
    group by {{ cell_names() }} window_key, model_version, bin
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

segments as (
    {{ roll_up('cells', ['bin'], ['sum(n) as n']) }}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.bin,
        {{ as_bigint('segments.n') }} as n
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

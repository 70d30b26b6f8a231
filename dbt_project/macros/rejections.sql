{# Quarantined rows by window, column, reason and severity; those without a window of their own count where they arrived. #}
{% macro rejections_of(kind, condition) %}
with issues as (
    select
        {{ kind }} as kind,
        coalesce({{ quoted('column') }}, '') as column_name,
        reason,
        severity,
        coalesce(window_start, received_at) as counted_at
    from {{ ref('stg_quarantine') }}
    where {{ condition }}
),

final as (
    select
        windows.window_key,
        windows.window_start,
        'all' as model_version,
        'all' as segment,
        issues.kind,
        issues.column_name,
        issues.reason,
        issues.severity,
        {{ as_bigint('count(*)') }} as n
    from issues
    inner join {{ windows_table() }} as windows
        on issues.counted_at >= windows.window_start and issues.counted_at < windows.window_end
    group by
        windows.window_key, windows.window_start, issues.kind, issues.column_name, issues.reason, issues.severity
)

select * from final
{% endmacro %}

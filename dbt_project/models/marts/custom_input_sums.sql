{# Makes: one aggregate per user's SQL metric that needs no label, then one sum per segment. Compiled: docs/compiled_sql.md #}
{%- set metrics = custom_metrics(needs_label=false) %}

with evaluated as (
    select
        window_key,
        model_version,
        {{ cell_columns() }}
        {%- for metric in metrics %}
        {{ finite(tried(as_double('(' ~ metric.sql ~ ')'))) }} as {{ metric.value }},
        {%- endfor %}
        bucket
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }}
),

segments as (
    {{ metric_sums(metrics, 'evaluated') }}
),

final as (
    {{ metric_rows('segments') }}
)

select * from final

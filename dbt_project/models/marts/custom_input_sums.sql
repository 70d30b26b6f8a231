{# Makes: one aggregate per user's SQL metric that needs no label, then one sum per segment; of ranking also what is recommended. Compiled: docs/compiled_sql.md #}
{%- set metrics = custom_metrics(needs_label=false) %}

{%- set has_items = task() == 'ranking' and ranked_item() != '' %}

with {% if has_items %}{{ ranked_items() }},

{% endif %}evaluated as (
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
    {%- if has_items %}
    {%- for name in ['popularity_at_k', 'novelty_at_k'] %}
    union all
    select
        window_key,
        model_version,
        segment,
        bucket,
        '{{ name }}' as metric,
        count({{ name }}) as n,
        sum({{ name }}) as sum_value,
        sum({{ name }} * {{ name }}) as sum_value_sq
    from item_means
    group by window_key, model_version, segment, bucket
    {%- endfor %}
    union all
    select window_key, model_version, segment, bucket, 'coverage_at_k' as metric, n, n_shown as sum_value, n_shown as sum_value_sq
    from items_shown
    {%- endif %}
),

final as (
    {{ metric_rows('segments') }}
)

select * from final

{%- set matrix = fromjson(setting('value_matrix', '{}')) %}
{%- set quantiles = fromjson(setting('quantiles', '[]')) if task() == 'regression' else [] %}
{%- set metrics = [] %}
{%- for metric in custom_metrics(needs_label=true) %}{% do metrics.append(dict(metric, relation='evaluated')) %}{% endfor %}
{%- if matrix %}{% do metrics.append({'name': 'value', 'value': 'business_value', 'relation': 'valued'}) %}{% endif %}
{%- for q in quantiles %}{% do metrics.append({'name': 'pinball_' ~ ('%g' | format(q)), 'value': 'pinball_' ~ loop.index0, 'relation': 'valued'}) %}{% endfor %}

with labelled as (
    select * from {{ of_this_run(ref('int_predictions_labelled')) }}
),

evaluated as (
    select * from {{ of_this_run(ref('int_custom_metrics_evaluated')) }}
),

valued as (
    select
        {%- if matrix %}
        {{ business_value(matrix) }} as business_value,
        {%- endif %}
        {%- for q in quantiles %}
        {{ pinball_loss(q) }} as pinball_{{ loop.index0 }},
        {%- endfor %}
        *
    from labelled
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

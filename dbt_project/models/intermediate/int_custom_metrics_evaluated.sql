-- depends_on: {{ ref('stg_inferences') }}, {{ ref('int_labels_current') }}
{# A table of its own, so that a mistake in a user's expression fails custom_sums and nothing else. #}
{{ config(materialized='batched_table') }}
{%- set metrics = custom_metrics(needs_label=true) %}

{%- if metrics %}
select
    window_key,
    model_version,
    {{ cell_columns() }}
    {%- for metric in metrics %}
    {{ finite(as_double('(' ~ metric.sql ~ ')')) }} as {{ metric.value }},
    {%- endfor %}
    bucket
from (
    select
        inferences.*,
        labels.{{ 'label_value' if task() in ('regression', 'ranking') else 'label_class' }} as label,
        labels.label_value = 1e0 as is_positive
    from (select * from {{ ref('stg_inferences') }} where {{ in_windows() }}) as inferences
    inner join {{ ref('int_labels_current') }} as labels
        on inferences.window_key = labels.window_key and inferences.prediction_id = labels.prediction_id
) as joined
{%- else %}
select window_key, model_version, {{ cell_columns() }} bucket
from {{ ref('stg_inferences') }}
where {{ in_windows() }} and false
{%- endif %}

-- depends_on: {{ ref('stg_inferences') }}, {{ ref('int_labels_current') }}
{# Makes: one column per user's SQL metric that needs a label, over the joined labels; an empty table without such metrics. Compiled: docs/compiled_sql.md #}
{# A table of its own, so that a mistake in a user's expression fails custom_sums and nothing else. #}
{{ config(materialized='batched_table') }}
{%- set metrics = custom_metrics(needs_label=true) %}

{%- if metrics %}
with joined as (
    {{ labelled_predictions(all_columns=true) }}
),

rows_labelled as (
    select
        *,
        {{ 'label_value' if task() in ('regression', 'ranking', 'text_generation') else 'label_class' }} as label,
        label_class = {{ string_literal(setting('positive')) }} as is_positive
    from joined
)

select
    window_key,
    model_version,
    {{ cell_names() }}
    {%- for metric in metrics %}
    {{ finite(tried(as_double('(' ~ metric.sql ~ ')'))) }} as {{ metric.value }},
    {%- endfor %}
    coalesce(label_class, '') as label_class,
    {{ delay_group_of_row('rows_labelled') }} as score_group,
    bucket
from rows_labelled
{%- else %}
select window_key, model_version, {{ cell_columns() }} {{ as_text("''") }} as label_class, {{ as_int('-1') }} as score_group, bucket
from {{ ref('stg_inferences') }}
where {{ in_windows() }} and false
{%- endif %}

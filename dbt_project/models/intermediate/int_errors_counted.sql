-- depends_on: {{ ref('stg_inferences') }}, {{ ref('int_labels_current') }}
{# Makes: one GROUP BY over the joined labels; an empty table for other tasks, and before the prediction's bins are frozen. #}
{# Regression only: how large errors are at each predicted value, from which quality is estimated before labels come. #}
{{ config(materialized='batched_table') }}
{%- set prediction = prediction_column() %}

{%- if task() == 'regression' and prediction and prediction['cut_bins'] %}
with joined as (
    {{ labelled_predictions([finite('inferences.prediction') ~ ' as prediction']) }}
),

errors as (
    select
        window_key,
        model_version,
        {{ cell_names() }}
        {{ bin_of('prediction', prediction['cuts'], prediction['cut_bins']) }} as prediction_bin,
        prediction,
        prediction - label_value as error
    from joined
    where prediction is not null and label_value is not null
)

{{ by_segment('errors', ['prediction_bin'], [
    'count(*) as n',
    'sum(prediction) as sum_prediction',
    'sum(abs(error)) as sum_abs_error',
    'sum(error * error) as sum_squared_error',
    'sum(error * error * error * error) as sum_fourth_error',
], has_buckets=false) }}
{%- else %}
select
    window_key,
    model_version,
    'all' as segment,
    0 as prediction_bin,
    0 as n,
    0e0 as sum_prediction,
    0e0 as sum_abs_error,
    0e0 as sum_squared_error,
    0e0 as sum_fourth_error
from {{ ref('stg_inferences') }}
where {{ in_windows() }} and false
{%- endif %}

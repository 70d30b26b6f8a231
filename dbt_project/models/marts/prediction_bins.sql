{# Makes: one GROUP BY over the predictions; an empty table for other tasks, and before their bins are frozen. #}
{# What the predictions of a regression say: how large its errors are is estimated from it before any label comes. #}
{%- set prediction = prediction_column() %}

{%- if task() == 'regression' and prediction and prediction['cut_bins'] %}
with predicted as (
    select
        window_key,
        model_version,
        {{ cell_columns() }}
        {{ finite('prediction') }} as prediction
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }} and {{ finite('prediction') }} is not null
),

binned as (
    select
        *,
        {{ bin_of('prediction', prediction['cuts'], prediction['cut_bins']) }} as prediction_bin
    from predicted
),

segments as (
    {{ by_segment('binned', ['prediction_bin'], [
        'count(*) as n',
        'sum(prediction) as sum_prediction',
    ], has_buckets=false) }}
),
{%- else %}
with segments as (
    select window_key, model_version, 'all' as segment, 0 as prediction_bin, 0 as n, 0e0 as sum_prediction
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }} and false
),
{%- endif %}

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        {{ as_int('segments.prediction_bin') }} as prediction_bin,
        {{ as_bigint('segments.n') }} as n,
        {{ as_double('segments.sum_prediction') }} as sum_prediction
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

with labelled as (
    select * from {{ of_this_run(ref('int_predictions_labelled')) }}
),

{# The number of a label: the value (regression), 1 or 0 (binary). #}
truths as (
    select *, label_value as x, {{ 'label_value' if task() == 'regression' else 'label_class' }} is null as is_missing
    from labelled
),

segments as (
    {{ by_segment('truths', [], [
        'count(*) as n_rows',
        count_where('is_missing') ~ ' as n_null',
        'sum(x) as sum_x', 'sum(x * x) as sum_xx', 'min(x) as min_x', 'max(x) as max_x',
        count_where('x = 1e0') ~ ' as n_true',
    ], has_buckets=false) }}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        '@label' as column_name,
        {{ as_bigint('segments.n_rows') }} as n_rows,
        {{ as_bigint('segments.n_null') }} as n_null,
        {{ as_bigint('0') }} as n_not_finite,
        {{ as_bigint('0') }} as n_contract,
        {{ as_double('segments.sum_x') }} as sum_x,
        {{ as_double('segments.sum_xx') }} as sum_xx,
        {{ as_double('segments.min_x') }} as min_x,
        {{ as_double('segments.max_x') }} as max_x,
        {{ as_bigint('segments.n_true' if task() == 'binary_classification' else 'null') }} as n_true
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

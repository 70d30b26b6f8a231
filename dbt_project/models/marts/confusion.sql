with labelled as (
    select * from {{ of_this_run(ref('int_predictions_labelled')) }}
),

decided as (
    select *, label_class as actual_class
    from labelled
    where predicted_class is not null and label_class is not null
        and {{ string_literal(task()) }} in ('binary_classification', 'multiclass_classification')
),

segments as (
    {{ by_segment('decided', ['predicted_class', 'actual_class'], ['count(*) as n']) }}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.bucket,
        segments.predicted_class,
        segments.actual_class,
        {{ as_bigint('segments.n') }} as n
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

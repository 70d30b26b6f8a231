with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where not is_delay
),

segments as (
    select window_key, model_version, segment, bucket, predicted_class, label_class as actual_class, sum(n) as n
    from outcomes
    where predicted_class is not null and label_class is not null
    group by window_key, model_version, segment, bucket, predicted_class, label_class
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

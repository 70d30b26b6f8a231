with labelled as (
    select * from {{ of_this_run(ref('int_predictions_labelled')) }}
),

grouped as (
    select
        window_key,
        model_version,
        {{ cell_names() }}
        delay_bin,
        coalesce(label_class, '') as label_class,
        {{ score_group() }} as score_group
    from labelled
),

segments as (
    {{ by_segment('grouped', ['delay_bin', 'label_class', 'score_group'], ['count(*) as n'], has_buckets=false) }}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.delay_bin,
        segments.label_class,
        {{ as_int('segments.score_group') }} as score_group,
        {{ as_bigint('segments.n') }} as n
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

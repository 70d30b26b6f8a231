with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where is_delay
),

grouped as (
    select
        *,
        coalesce(arrival_group, -1) as delay_group
    from outcomes
    {%- if silence_is_negative() %}
    where delay_bin is not null
    {%- endif %}
),

segments as (
    select
        window_key,
        model_version,
        segment,
        delay_bin,
        coalesce(label_class, '') as label_class,
        delay_group as score_group,
        sum(n) as n
    from grouped
    group by window_key, model_version, segment, delay_bin, coalesce(label_class, ''), delay_group
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

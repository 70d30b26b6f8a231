with outcomes as (
    select * from {{ of_this_run(ref('int_class_outcomes_counted')) }}
),

final as (
    select
        outcomes.window_key,
        windows.window_start,
        outcomes.model_version,
        outcomes.segment,
        outcomes.predicted_class,
        outcomes.class_name,
        {{ as_int('outcomes.score_bin') }} as score_bin,
        outcomes.is_positive,
        {{ as_bigint('outcomes.n') }} as n
    from outcomes
    inner join {{ windows_table() }} as windows on outcomes.window_key = windows.window_key
)

select * from final

with areas as (
    select * from {{ of_this_run(ref('int_score_areas')) }}
),

final as (
    select
        areas.window_key,
        windows.window_start,
        areas.model_version,
        areas.segment,
        areas.class_name,
        {{ as_bigint('areas.n_positive') }} as n_positive,
        {{ as_bigint('areas.n_negative') }} as n_negative,
        {{ as_double('areas.roc_auc') }} as roc_auc,
        {{ as_double('areas.average_precision') }} as average_precision
    from areas
    inner join {{ windows_table() }} as windows on areas.window_key = windows.window_key
)

select * from final

with errors as (
    select * from {{ of_this_run(ref('int_errors_counted')) }}
),

final as (
    select
        errors.window_key,
        windows.window_start,
        errors.model_version,
        errors.segment,
        {{ as_int('errors.prediction_bin') }} as prediction_bin,
        {{ as_bigint('errors.n') }} as n,
        {{ as_double('errors.sum_prediction') }} as sum_prediction,
        {{ as_double('errors.sum_abs_error') }} as sum_abs_error,
        {{ as_double('errors.sum_squared_error') }} as sum_squared_error,
        {{ as_double('errors.sum_fourth_error') }} as sum_fourth_error
    from errors
    inner join {{ windows_table() }} as windows on errors.window_key = windows.window_key
)

select * from final

{# Makes: one GROUP BY with its sums. #}
{# Tables of an earlier release have no n_improper: it is added, null in the rows that are there. #}
{{ config(on_schema_change='append_new_columns') }}
with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where not is_delay
),

segments as (
    select
        window_key,
        model_version,
        segment,
        bucket,
        sum(n) as n,
        coalesce(sum(sum_label), 0) as sum_label,
        coalesce(sum(sum_label_sq), 0) as sum_label_sq,
        coalesce(sum(sum_score), 0) as sum_score,
        coalesce(sum(sum_error), 0) as sum_error,
        coalesce(sum(sum_abs_error), 0) as sum_abs_error,
        coalesce(sum(sum_squared_error), 0) as sum_squared_error,
        coalesce(sum(sum_log_loss), 0) as sum_log_loss,
        coalesce(sum(sum_brier), 0) as sum_brier,
        sum(n_score) as n_score,
        sum(n_improper) as n_improper
    from outcomes
    group by window_key, model_version, segment, bucket
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.bucket,
        {{ as_bigint('segments.n') }} as n,
        {{ as_double('segments.sum_label') }} as sum_label,
        {{ as_double('segments.sum_label_sq') }} as sum_label_sq,
        {{ as_double('segments.sum_score') }} as sum_score,
        {{ as_double('segments.sum_error') }} as sum_error,
        {{ as_double('segments.sum_abs_error') }} as sum_abs_error,
        {{ as_double('segments.sum_squared_error') }} as sum_squared_error,
        {{ as_double('segments.sum_log_loss') }} as sum_log_loss,
        {{ as_double('segments.sum_brier') }} as sum_brier,
        {{ as_bigint('segments.n_score') }} as n_score,
        {{ as_bigint('segments.n_improper') }} as n_improper
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

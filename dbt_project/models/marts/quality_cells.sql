{# Makes: one GROUP BY with the sums of quality_sums, and one more. Compiled: docs/compiled_sql.md #}
{# Tables of an earlier release lack sum_log_loss_negative or n_improper: they are added, null in the rows that are there. #}
{{ config(on_schema_change='append_new_columns') }}
with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where not is_delay
),

grouped as (
    select
        *,
        coalesce({{ delay_group() }}, -1) as delay_group
    from outcomes
),

segments as (
    select
        window_key,
        model_version,
        segment,
        bucket,
        coalesce(predicted_class, '') as predicted_class,
        coalesce(label_class, '') as label_class,
        delay_group as score_group,
        sum(n) as n,
        sum(n_score) as n_score,
        coalesce(sum(sum_label), 0) as sum_label,
        coalesce(sum(sum_label_sq), 0) as sum_label_sq,
        coalesce(sum(sum_score), 0) as sum_score,
        coalesce(sum(sum_error), 0) as sum_error,
        coalesce(sum(sum_abs_error), 0) as sum_abs_error,
        coalesce(sum(sum_squared_error), 0) as sum_squared_error,
        coalesce(sum(sum_log_loss), 0) as sum_log_loss,
        coalesce(sum(sum_brier), 0) as sum_brier,
        sum(sum_log_loss_negative) as sum_log_loss_negative,
        sum(n_improper) as n_improper
    from grouped
    group by window_key, model_version, segment, bucket, coalesce(predicted_class, ''), coalesce(label_class, ''), delay_group
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.bucket,
        segments.predicted_class,
        segments.label_class,
        {{ as_int('segments.score_group') }} as score_group,
        {{ as_bigint('segments.n') }} as n,
        {{ as_bigint('segments.n_score') }} as n_score,
        {%- for name in ['sum_label', 'sum_label_sq', 'sum_score', 'sum_error', 'sum_abs_error', 'sum_squared_error', 'sum_log_loss', 'sum_brier'] %}
        {{ as_double('segments.' ~ name) }} as {{ name }},
        {%- endfor %}
        {{ as_double('segments.sum_log_loss_negative') }} as sum_log_loss_negative,
        {{ as_bigint('segments.n_improper') }} as n_improper
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

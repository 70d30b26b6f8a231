{# Tables of an earlier release have no sum_score: it is added, null in the rows that are there. #}
{{ config(on_schema_change='append_new_columns') }}
with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where not is_delay
),

class_scores as (
    select * from {{ of_this_run(ref('int_class_scores_counted')) }}
),

segments as (
    select
        window_key,
        model_version,
        segment,
        bucket,
        '' as class_name,
        score_bin,
        label_class = {{ string_literal(setting('positive')) }} as is_positive,
        sum(n) as n,
        sum(sum_score) as sum_score
    from outcomes
    where score_bin is not null and label_class is not null
    group by window_key, model_version, segment, bucket, score_bin, is_positive
    union all
    select window_key, model_version, segment, bucket, class_name, score_bin, is_positive, sum(n) as n, sum(sum_score) as sum_score
    from class_scores
    group by window_key, model_version, segment, bucket, class_name, score_bin, is_positive
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.bucket,
        segments.class_name,
        segments.score_bin,
        segments.is_positive,
        {{ as_bigint('segments.n') }} as n,
        {{ as_double('segments.sum_score') }} as sum_score
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

{# Tables of an earlier release have no sum_score: it is added, null in the rows that are there. #}
{{ config(on_schema_change='append_new_columns') }}
with class_scores as (
    select * from {{ of_this_run(ref('int_class_scores_counted')) }}
),

segments as (
    select
        window_key,
        model_version,
        segment,
        bucket % {{ setting('segment_buckets') }} as bucket,
        class_name,
        score_bin,
        label_class,
        score_group,
        sum(n) as n,
        sum(sum_score) as sum_score
    from class_scores
    group by window_key, model_version, segment, bucket % {{ setting('segment_buckets') }}, class_name, score_bin, label_class, score_group
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        {{ as_int('segments.bucket') }} as bucket,
        segments.class_name,
        {{ as_int('segments.score_bin') }} as score_bin,
        segments.label_class,
        {{ as_int('segments.score_group') }} as score_group,
        {{ as_bigint('segments.n') }} as n,
        {{ as_double('segments.sum_score') }} as sum_score
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

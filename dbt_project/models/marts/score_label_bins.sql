with labelled as (
    select * from {{ of_this_run(ref('int_predictions_labelled')) }}
),

{%- if task() == 'binary_classification' %}

scores as (
    select *, '' as class_name, {{ score_bin('score', 256) }} as score_bin, label_value = 1e0 as is_positive
    from labelled
    where score is not null and label_value is not null
),
{%- elif has_class_scores() %}

scores as (
    {%- for name in score_classes() %}
    select
        *,
        {{ string_literal(name) }} as class_name,
        {{ score_bin(class_score(loop.index0), 256) }} as score_bin,
        label_class = {{ string_literal(name) }} as is_positive
    from labelled
    where {{ class_score(loop.index0) }} is not null and label_class is not null
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),
{%- else %}

scores as (
    select *, '' as class_name, 0 as score_bin, false as is_positive
    from labelled
    where false
),
{%- endif %}

segments as (
    {{ by_segment('scores', ['class_name', 'score_bin', 'is_positive'], ['count(*) as n']) }}
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
        {{ as_bigint('segments.n') }} as n
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

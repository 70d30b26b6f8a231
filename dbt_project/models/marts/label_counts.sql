{# Makes: one SELECT per group of segments, united, joined with the labels that came; then one sum per segment. Compiled: docs/compiled_sql.md #}
with predictions_counted as (
    {%- for group in segment_groups() %}
    select
        {{ group }} as cell_group,
        window_key,
        model_version,
        {{ cell_columns(group) }}
        count(*) as n_predictions
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }}
    group by {{ cell_names() }} window_key, model_version
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }}
),

predictions_by_segment as (
    {{ roll_up('predictions_counted', [], ['sum(n_predictions) as n_predictions']) }}
),

labelled_by_segment as (
    select window_key, model_version, segment, sum(n) as n_labelled, sum(n_revised) as n_revised
    from outcomes
    group by window_key, model_version, segment
),

final as (
    select
        predictions.window_key,
        windows.window_start,
        predictions.model_version,
        predictions.segment,
        {{ as_bigint('predictions.n_predictions') }} as n_predictions,
        {{ as_bigint('coalesce(labelled.n_labelled, 0)') }} as n_labelled,
        {{ as_bigint('coalesce(labelled.n_revised, 0)') }} as n_revised
    from predictions_by_segment as predictions
    inner join {{ windows_table() }} as windows on predictions.window_key = windows.window_key
    left join labelled_by_segment as labelled
        on predictions.window_key = labelled.window_key
        and predictions.model_version = labelled.model_version
        and predictions.segment = labelled.segment
)

select * from final

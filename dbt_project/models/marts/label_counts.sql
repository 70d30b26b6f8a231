{# Makes: one SELECT per group of segments, united, joined with the labels that came and those taken back; then one sum per segment. Compiled: docs/compiled_sql.md #}
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
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where is_delay
),

predictions_by_segment as (
    {{ roll_up('predictions_counted', [], ['sum(n_predictions) as n_predictions']) }}
),

retracted as (
    {{ retracted_labels() }}
),

retracted_counted as (
    {%- for group in segment_groups() %}
    select
        {{ group }} as cell_group,
        inferences.window_key,
        inferences.model_version,
        {{ cell_columns(group, alias='inferences.') }}
        count(*) as n_retracted
    from {{ ref('stg_inferences') }} as inferences
    inner join retracted
        on inferences.window_start = retracted.window_start and inferences.prediction_id = retracted.prediction_id
    where {{ in_windows('inferences.window_key') }}
    group by {{ cell_names() }} inferences.window_key, inferences.model_version
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

retracted_by_segment as (
    {{ roll_up('retracted_counted', [], ['sum(n_retracted) as n_retracted']) }}
),

labelled_by_segment as (
    select window_key, model_version, segment, sum(n) as n_labelled, sum(n_revised) as n_revised
    from outcomes
    {%- if silence_is_negative() %}
    where delay_bin is not null
    {%- endif %}
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
        {{ as_bigint('coalesce(labelled.n_revised, 0)') }} as n_revised,
        {{ as_bigint('coalesce(retracted.n_retracted, 0)') }} as n_retracted
    from predictions_by_segment as predictions
    inner join {{ windows_table() }} as windows on predictions.window_key = windows.window_key
    left join labelled_by_segment as labelled
        on predictions.window_key = labelled.window_key
        and predictions.model_version = labelled.model_version
        and predictions.segment = labelled.segment
    left join retracted_by_segment as retracted
        on predictions.window_key = retracted.window_key
        and predictions.model_version = retracted.model_version
        and predictions.segment = retracted.segment
)

select * from final

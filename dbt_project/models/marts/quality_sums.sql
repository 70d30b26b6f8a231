with labelled as (
    select * from {{ of_this_run(ref('int_predictions_labelled')) }}
),

{# Per row: outcome, forecast, error, log loss and squared distance of the probabilities; null where one side is unknown. #}
losses as (
    select
        *,
        {%- if task() == 'binary_classification' %}
        label_value as outcome,
        score as forecast,
        score - label_value as error,
        -ln({{ clipped('case when label_value = 1e0 then score else 1e0 - score end') }}) as log_loss,
        (score - label_value) * (score - label_value) as brier
        {%- elif has_class_scores() %}
        {{ as_double('null') }} as outcome,
        {{ probability_of_truth() }} as forecast,
        {{ as_double('null') }} as error,
        -ln({{ clipped(probability_of_truth()) }}) as log_loss,
        {{ multiclass_brier() }} as brier
        {%- elif task() == 'regression' %}
        label_value as outcome,
        prediction as forecast,
        prediction - label_value as error,
        {{ as_double('null') }} as log_loss,
        {{ as_double('null') }} as brier
        {%- else %}
        {{ as_double('null') }} as outcome,
        {{ as_double('null') }} as forecast,
        {{ as_double('null') }} as error,
        {{ as_double('null') }} as log_loss,
        {{ as_double('null') }} as brier
        {%- endif %}
    from labelled
),

scored as (
    select *, case when forecast is not null then outcome end as scored_outcome from losses
),

segments as (
    {{ by_segment('scored', [], [
        'count(*) as n',
        'coalesce(sum(scored_outcome), 0) as sum_label',
        'coalesce(sum(scored_outcome * scored_outcome), 0) as sum_label_sq',
        'coalesce(sum(forecast), 0) as sum_score',
        'coalesce(sum(error), 0) as sum_error',
        'coalesce(sum(abs(error)), 0) as sum_abs_error',
        'coalesce(sum(error * error), 0) as sum_squared_error',
        'coalesce(sum(log_loss), 0) as sum_log_loss',
        'coalesce(sum(brier), 0) as sum_brier',
        'count(forecast) as n_score',
    ]) }}
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
        {{ as_bigint('segments.n_score') }} as n_score
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

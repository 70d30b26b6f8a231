{#
  Labels meet predictions here and are reduced at once to what every label-side mart sums up: decision, label, score bin,
  delay. The joined rows themselves are never stored.
#}
{{ config(materialized='batched_table') }}
{%- set label = label_column() %}
{%- set is_binary = task() == 'binary_classification' %}
{%- set is_regression = task() == 'regression' %}
{%- set is_scored = is_binary or is_regression %}

with joined as (
    {{ labelled_predictions([
        finite('inferences.score') ~ ' as score',
        finite('inferences.prediction') ~ ' as prediction',
        decided_class('inferences') ~ ' as predicted_class',
        as_int('greatest(0, floor(' ~ seconds_between('inferences.window_start', 'labels.first_received_at') ~ ' / '
            ~ double_literal(setting('window_seconds', '86400')) ~ '))') ~ ' as delay_bin',
        'labels.n_revisions',
    ] + named_class_scores('inferences')) }}
),

forecasts as (
    select
        *,
        {%- if is_binary %}
        case when label_class = {{ string_literal(setting('positive')) }} then 1e0 when label_class is not null then 0e0 end as outcome,
        score as forecast
        {%- elif is_regression %}
        label_value as outcome,
        prediction as forecast
        {%- elif has_class_scores() %}
        {{ as_double('null') }} as outcome,
        {{ probability_of_truth() }} as forecast
        {%- else %}
        {{ as_double('null') }} as outcome,
        {{ as_double('null') }} as forecast
        {%- endif %}
    from joined
),

outcomes as (
    select
        *,
        {{ score_bin('score', 256) if is_binary else as_int('null') }} as score_bin,
        {%- if is_regression %}
        case when forecast is null or outcome is null then -1 else {{ error_group('forecast - outcome') }} end as score_group,
        {%- elif has_class_scores() %}
        coalesce({{ score_bin('(' ~ largest(class_score_names()) ~ ')', 10) }}, -1) as score_group,
        {%- else %}
        {{ as_int('null') }} as score_group,
        {%- endif %}
        {%- if label and label['kind'] == 'numeric' and label['cuts'] %}
        case when label_value is not null then {{ bin_of('label_value', label['cuts'], label['cut_bins']) }} end as label_bin,
        {%- else %}
        {{ as_int('null') }} as label_bin,
        {%- endif %}
        forecast {{ '- outcome' if is_scored else '+ null' }} as error,
        case when forecast is not null then outcome end as scored_outcome,
        {%- if is_binary %}
        case
            when outcome = 1e0 then -ln({{ clipped('forecast') }})
            when outcome = 0e0 then -ln({{ clipped('1e0 - forecast') }})
        end as log_loss
        {%- elif has_class_scores() %}
        -ln({{ clipped('forecast') }}) as log_loss,
        case when forecast is not null then {{ multiclass_brier() }} end as brier
        {%- else %}
        {{ as_double('null') }} as log_loss
        {%- endif %}
    from forecasts
)

{{ by_segment('outcomes', ['predicted_class', 'label_class', 'score_bin', 'label_bin', 'delay_bin', 'score_group'], [
    'count(*) as n',
    ('count(error)' if is_scored else 'count(forecast)') ~ ' as n_score',
    count_where('n_revisions > 1') ~ ' as n_revised',
    'sum(scored_outcome) as sum_label',
    'sum(scored_outcome * scored_outcome) as sum_label_sq',
    'sum(' ~ ('case when outcome is not null then forecast end' if is_scored else 'forecast') ~ ') as sum_score',
    'sum(error) as sum_error',
    'sum(abs(error)) as sum_abs_error',
    'sum(error * error) as sum_squared_error',
    'sum(log_loss) as sum_log_loss',
    'sum(' ~ ('error * error' if is_binary else 'brier' if has_class_scores() else as_double('null')) ~ ') as sum_brier',
    'count(label_value) as n_label_value',
    'sum(label_value) as sum_label_value',
    'sum(label_value * label_value) as sum_label_value_sq',
    'min(label_value) as min_label_value',
    'max(label_value) as max_label_value',
] + pinball_sums()) }}

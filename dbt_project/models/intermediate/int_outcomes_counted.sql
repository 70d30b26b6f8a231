{# Makes: two GROUP BYs over the joined labels, one with the sums that the task needs, one of delays. Compiled: docs/compiled_sql.md #}
{#
  Labels meet predictions here and are reduced at once to what every label-side mart sums up: decision, label, score bin.
  The joined rows themselves are never stored. Per row only what the counts cannot tell is summed; what follows
  from a count and its keys (binary: sums of labels and scores) is added afterwards. Delays are counted in rows of their
  own (`is_delay`), without buckets and sums: nothing needs both, and crossed they are almost as many as the predictions.
#}
{{ config(materialized='batched_table') }}
{%- set label = label_column() %}
{%- set is_binary = task() == 'binary_classification' %}
{%- set is_regression = task() == 'regression' %}
{%- set null_number = as_double('null') %}
{%- set has_label_bins = label and label['kind'] == 'numeric' and label['cuts'] %}
{%- set optional_keys = {'score_bin': is_binary, 'label_bin': has_label_bins, 'score_group': is_regression or has_class_scores()} %}
{%- set present, absent = [], [] %}
{%- for name, is_there in optional_keys.items() %}{% do (present if is_there else absent).append(name) %}{% endfor %}
{%- set measures = [
    'count(*) as n',
] + ([
    ('case when score_bin is not null and label_class is not null then count(*) else 0 end' if is_binary else 'count(error)') ~ ' as n_score',
    'sum(error) as sum_error',
    'sum(abs(error)) as sum_abs_error',
    'sum(error * error) as sum_squared_error',
] if is_binary or is_regression else ['count(forecast) as n_score']) + ([
    'sum(case when error is not null then log_loss end) as sum_log_loss',
] if is_binary else []) + ([
    'sum(case when forecast is not null then -ln(' ~ clipped('1e0 - forecast') ~ ') end) as sum_log_loss_negative',
] if silence_is_negative() else []) + ([
    'sum(forecast) as sum_score',
    'sum(case when forecast is not null then log_loss end) as sum_log_loss',
    'sum(brier) as sum_brier',
    count_where('forecast is not null and ' ~ is_improper()) ~ ' as n_improper',
] if has_class_scores() else []) + ([
    'sum(case when error is not null then forecast end) as sum_score',
    steady_sum('case when error is not null then outcome end') ~ ' as sum_label',
    steady_sum('case when error is not null then outcome * outcome end') ~ ' as sum_label_sq',
] if is_regression else []) + ([
    'count(label_value) as n_label_value',
    steady_sum('label_value') ~ ' as sum_label_value',
    steady_sum('label_value * label_value') ~ ' as sum_label_value_sq',
    'min(label_value) as min_label_value',
    'max(label_value) as max_label_value',
] if task() in ('regression', 'ranking', 'text_generation') else []) + pinball_sums() %}
{%- set measure_names = [] %}
{%- for measure in measures %}{% do measure_names.append(measure.split(' as ')[-1]) %}{% endfor %}

with joined as (
    {{ labelled_predictions([
        finite('inferences.prediction') ~ ' as prediction',
        'labels.n_values',
        delay_bin('inferences.window_start', 'labels.first_observed_at') ~ ' as delay_bin',
        'inferences.predicted_class as logged_class',
        finite('inferences.score') ~ ' as score',
    ] + named_class_scores('inferences')) }}
),

forecasts as (
    select
        *,
        {{ decided_class() }} as predicted_class,
        {%- if is_binary %}
        case when label_class = {{ string_literal(setting('positive')) }} then 1e0 when label_class is not null then 0e0 end as outcome,
        score as forecast
        {%- elif is_regression %}
        label_value as outcome,
        prediction as forecast
        {%- elif has_class_scores() %}
        {{ null_number }} as outcome,
        {{ probability_of_truth() }} as forecast
        {%- else %}
        {{ null_number }} as outcome,
        {{ null_number }} as forecast
        {%- endif %}
    from joined
),

outcomes as (
    select
        *,
        {%- if is_binary %}
        {{ score_bin('score', 256) }} as score_bin,
        {%- elif is_regression %}
        case when forecast is null or outcome is null then -1 else {{ error_group('forecast - outcome') }} end as score_group,
        {%- elif has_class_scores() %}
        coalesce({{ score_bin('forecast', 10) }}, -1) as score_group,
        {%- endif %}
        {%- if has_label_bins %}
        case when label_value is not null then {{ bin_of('label_value', label['cuts'], label['cut_bins']) }} end as label_bin,
        {%- endif %}
        {%- if is_binary %}
        -ln({{ clipped('case when outcome = 1e0 then forecast else 1e0 - forecast end') }}) as log_loss,
        {%- elif has_class_scores() %}
        -ln({{ clipped('forecast') }}) as log_loss,
        case when forecast is not null then {{ multiclass_brier() }} end as brier,
        {%- endif %}
        forecast - outcome as error
    from forecasts
),

counted as (
    {{ by_segment('outcomes', ['predicted_class', 'label_class'] + present, measures) }}
),

arrived as (
    select
        *,
        {{ delay_group() if is_binary or 'score_group' in present or task() == 'multiclass_classification' else as_int('null') }} as arrival_group
    from outcomes
),

delays as (
    {{ by_segment('arrived', ['label_class', 'delay_bin', 'arrival_group'], [
        'count(*) as n',
        count_where('n_values > 1') ~ ' as n_revised',
    ], has_buckets=false) }}
),

cells as (
    select
        window_key,
        model_version,
        segment,
        false as is_delay,
        bucket,
        predicted_class,
        label_class,
        {{ as_int('null') }} as delay_bin,
        {{ as_int('null') }} as arrival_group,
        {{ as_bigint('null') }} as n_revised,
        {{ (present + measure_names) | join(',\n        ') }}
    from counted
    union all
    select
        window_key,
        model_version,
        segment,
        true as is_delay,
        {{ as_int('null') }} as bucket,
        {{ as_text('null') }} as predicted_class,
        label_class,
        delay_bin,
        arrival_group,
        n_revised
        {%- for name in present + measure_names %},
        {{ 'n' if name == 'n' else 'null' }} as {{ name }}
        {%- endfor %}
    from delays
),

final as (
    select
        *
        {%- for name in absent %},
        {{ as_int('null') }} as {{ name }}
        {%- endfor %}
        {%- if not silence_is_negative() %},
        {{ null_number }} as sum_log_loss_negative
        {%- endif %}
        {%- if not has_class_scores() %},
        {{ as_bigint('null') }} as n_improper
        {%- endif %}
        {%- if is_binary %},
        case when label_class = {{ string_literal(setting('positive')) }} then n_score when n_score is not null then 0 end as sum_label,
        case when label_class = {{ string_literal(setting('positive')) }} then n_score when n_score is not null then 0 end as sum_label_sq,
        sum_error + case when label_class = {{ string_literal(setting('positive')) }} then n_score when n_score is not null then 0 end as sum_score,
        sum_squared_error as sum_brier
        {%- elif is_regression %},
        {{ null_number }} as sum_log_loss,
        {{ null_number }} as sum_brier
        {%- else %},
        {%- if not has_class_scores() %}
        {{ null_number }} as sum_score,
        {{ null_number }} as sum_log_loss,
        {{ null_number }} as sum_brier,
        {%- endif %}
        {{ null_number }} as sum_label,
        {{ null_number }} as sum_label_sq,
        {{ null_number }} as sum_error,
        {{ null_number }} as sum_abs_error,
        {{ null_number }} as sum_squared_error
        {%- endif %}
    from cells
)

select * from final

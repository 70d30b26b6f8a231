{{ config(materialized='batched_table') }}

select
    inferences.window_key,
    inferences.model_version,
    {{ cell_columns(alias='inferences.') }}
    inferences.bucket,
    {{ finite('inferences.score') }} as score,
    {{ finite('inferences.prediction') }} as prediction,
    {{ decided_class('inferences') }} as predicted_class,
    {%- if has_class_scores() %}
    {%- for name in score_classes() %}
    {{ finite('inferences.' ~ quoted('p_' ~ name)) }} as {{ class_score(loop.index0) }},
    {%- endfor %}
    {%- endif %}
    labels.label_class,
    labels.label_value,
    {{ as_int('greatest(0, floor(' ~ seconds_between('inferences.window_start', 'labels.first_received_at') ~ ' / ' ~ double_literal(setting('window_seconds')) ~ '))') }} as delay_bin,
    {{ as_int('labels.n_revisions') }} as n_revisions
from (select * from {{ ref('stg_inferences') }} where {{ in_windows() }}) as inferences
inner join {{ ref('int_labels_current') }} as labels
    on inferences.window_key = labels.window_key and inferences.prediction_id = labels.prediction_id

{# Current labels joined to their predictions, one row each, with the prediction's cells and `bucket`. `items`: more select
   items over `inferences` and `labels`; `all_columns`: every column of the prediction. Where only positives are reported
   (`labels.silence: negative`) a prediction without a label is a negative one, of ranking an irrelevant one; nothing of `labels` is known of it. #}
{% macro labelled_predictions(items=[], all_columns=false) %}
  select
      {%- if all_columns %}
      inferences.*,
      {%- else %}
      inferences.window_key,
      inferences.model_version,
      inferences.bucket,
      {%- endif %}
      {{ cell_columns(alias='inferences.') }}
      {%- for item in items %}
      {{ item }},
      {%- endfor %}
      {%- if silence_is_negative() and task() == 'ranking' %}
      labels.label_class,
      coalesce(labels.label_value, 0e0) as label_value
      {%- elif silence_is_negative() %}
      coalesce(labels.label_class, {{ string_literal(setting('negative')) }}) as label_class,
      coalesce(labels.label_value, 0e0) as label_value
      {%- else %}
      labels.label_class,
      labels.label_value
      {%- endif %}
  from (select * from {{ ref('stg_inferences') }} where {{ in_windows() }}) as inferences
  {{ 'left' if silence_is_negative() else 'inner' }} join {{ ref('int_labels_current') }} as labels
      on inferences.window_start = labels.window_start and inferences.prediction_id = labels.prediction_id
{% endmacro %}

{# Whether only positives are reported: rows of int_outcomes_counted that count delays have none where the negative is one by silence. #}
{% macro silence_is_negative() %}{{ return(setting('silence') == 'negative') }}{% endmacro %}

{# The order of the revisions of a label: observed, received, place in the file (all that is below 2^32 of its number), then
   content; see sightline/warehouse/current_labels.py. #}
{% macro label_order(alias='') %}
  {{ return(in_turn([alias ~ 'observed_at', alias ~ 'received_at', alias ~ 'revision_order % 4294967296',
    'coalesce(' ~ alias ~ 'is_retracted, false)', 'coalesce(' ~ alias ~ 'label_class, ' ~ as_text(alias ~ 'label_value') ~ ", '')"])) }}
{% endmacro %}

{# Predictions whose label was taken back, and has not been set since. #}
{% macro retracted_labels() %}
  select window_start, prediction_id
  from {{ ref('stg_labels') }}
  where {{ in_windows() }} and prediction_id in (
      select prediction_id from {{ ref('stg_labels') }} where {{ in_windows() }} and is_retracted
  )
  group by window_start, prediction_id
  having max_by(coalesce(is_retracted, false), {{ label_order() }})
{% endmacro %}

{# The decision of a classifier: the logged class, else the score against the threshold, else the most probable class. #}
{% macro decided_class() %}
  {%- if task() == 'binary_classification' -%}
  case
            when logged_class is not null then logged_class
            when score >= {{ double_literal(setting('threshold')) }} then {{ string_literal(setting('positive')) }}
            when score is not null then {{ string_literal(setting('negative')) }}
        end
  {%- elif has_class_scores() -%}
  case
            when logged_class is not null then logged_class
            {%- for name in score_classes() %}
            when {{ class_score_names()[loop.index0] }} = ({{ largest(class_score_names()) }}) then {{ string_literal(name) }}
            {%- endfor %}
        end
  {%- else -%}
  {{ 'logged_class' if task() == 'multiclass_classification' else as_text('null') }}
  {%- endif -%}
{% endmacro %}

{% macro has_class_scores() %}{{ return(task() == 'multiclass_classification' and (score_classes() | length) > 0) }}{% endmacro %}

{# The probabilities of score_classes(), as columns of a table. #}
{% macro class_scores(alias) %}
  {% set found = [] %}
  {% for name in score_classes() %}{% do found.append(finite(alias ~ '.' ~ quoted('p_' ~ name))) %}{% endfor %}
  {{ return(found) }}
{% endmacro %}

{# Their names in the rows of a model. #}
{% macro class_score_names() %}
  {% set found = [] %}
  {% for _ in score_classes() %}{% do found.append('class_score_' ~ loop.index0) %}{% endfor %}
  {{ return(found) }}
{% endmacro %}

{# greatest() and least() skip nulls in DuckDB and Spark alike: unknown must stay unknown. #}
{% macro largest(items) %}
  {{ return('case when ' ~ items | join(' + ') ~ ' is not null then greatest(' ~ items | join(', ') ~ ') end' if items | length > 1 else items[0]) }}
{% endmacro %}

{# A known probability inside [1e-15, 1 - 1e-15]. #}
{% macro clipped(p) %}
  {{ return('greatest(1e-15, least(1e0 - 1e-15, ' ~ p ~ '))') }}
{% endmacro %}

{# Equal-width bin 0 .. n-1 of a score; scores outside [0, 1] go to the outermost bins, null stays null. #}
{% macro score_bin(score, n) %}
  {{ return('case when ' ~ score ~ ' >= 1e0 then ' ~ (n - 1) ~ ' when ' ~ score ~ ' < 0e0 then 0 else '
    ~ as_int('floor(' ~ score ~ ' * ' ~ n ~ ')') ~ ' end') }}
{% endmacro %}

{# Binary search in frozen cuts: the bin of x. `bins` has one more entry than `cuts`. #}
{% macro bin_of(x, cuts, bins) %}
  {%- if not cuts -%}{{ return(bins[0] | string) }}{%- endif -%}
  {%- set middle = (cuts | length) // 2 -%}
  {{ return('case when ' ~ x ~ ' <= ' ~ double_literal(cuts[middle]) ~ ' then ' ~ bin_of(x, cuts[:middle], bins[:middle + 1])
    ~ ' else ' ~ bin_of(x, cuts[middle + 1:], bins[middle + 1:]) ~ ' end') }}
{% endmacro %}

{# Delay d from the start of the window to the arrival of a label, in windows: quarters below 4, whole ones above; null where
   none came. #}
{% macro delay_bin(start, arrived) %}
  {%- set d = 'greatest(0e0, ' ~ seconds_between(start, arrived) ~ ' / ' ~ double_literal(setting('window_seconds', '86400')) ~ ')' -%}
  {%- set none_came = 'when ' ~ arrived ~ ' is null then null ' if silence_is_negative() else '' -%}
  {{ return(as_int('case ' ~ none_came ~ 'when ' ~ d ~ ' < 4e0 then floor(4e0 * ' ~ d ~ ') else 12e0 + floor(' ~ d ~ ') end')) }}
{% endmacro %}

{# What the delay of a label may depend on, beside its class: of two classes the score, its 256 bins joined by eights, else
   the decision; of several the probability of the true one, else whether the decision is right. #}
{% macro delay_group() %}
  {%- set decided = "when predicted_class = " ~ string_literal(setting('positive')) ~ " then 31 when predicted_class is not null then 0" -%}
  {%- if task() == 'binary_classification' -%}
  {{ return(as_int("case when score_bin is not null then floor(score_bin / 8e0) " ~ decided ~ " end")) }}
  {%- elif task() == 'multiclass_classification' and not has_class_scores() -%}
  {{ return(as_int('case when predicted_class = label_class then 1 when predicted_class is not null then 0 end')) }}
  {%- else -%}{{ return('score_group') }}{%- endif -%}
{% endmacro %}

{# The same of a classifier's row with the columns of its prediction. #}
{% macro delay_group_of_row(alias) %}
  {%- if task() == 'binary_classification' -%}
  case
        when {{ finite(alias ~ '.score') }} is not null then {{ score_bin(finite(alias ~ '.score'), 32) }}
        when {{ alias }}.predicted_class = {{ string_literal(setting('positive')) }} then 31
        when {{ alias }}.predicted_class is not null then 0
        else -1
    end
  {%- elif has_class_scores() -%}
  coalesce({{ score_bin('(' ~ probability_of_truth(class_scores(alias)) ~ ')', 10) }}, -1)
  {%- else -%}
  case when {{ alias }}.predicted_class = label_class then 1 when {{ alias }}.predicted_class is not null then 0 else -1 end
  {%- endif -%}
{% endmacro %}

{# Group 0..31 of a regression error, in quarters of a doubling: 20 begins at the label's reference standard deviation. #}
{% macro error_group(error) %}
  {{ return(as_int('least(31, greatest(0, 20 + floor(4e0 * log2(greatest(abs(' ~ error ~ '), 1e-300) / '
    ~ double_literal(setting('error_scale', '1')) ~ '))))')) }}
{% endmacro %}

{# Multiclass, per row: the probability given to the true class, and the Brier score summed over classes; null unless every
   class has a probability. Those of all classes sum to 1, so a class without one has the probability 0. #}
{% macro probability_of_truth(names=none) %}
  {%- set names = names or class_score_names() -%}
  case
            when {{ names | join(' + ') }} is null or label_class is null then null
            {%- for name in score_classes() %}
            when label_class = {{ string_literal(name) }} then {{ names[loop.index0] }}
            {%- endfor %}
            else 0e0
        end
{% endmacro %}

{% macro multiclass_brier() %}
  {%- for name in score_classes() %}
  {%- set distance = class_score_names()[loop.index0] ~ ' - case when label_class = ' ~ string_literal(name) ~ ' then 1e0 else 0e0 end' %}
            ({{ distance }}) * ({{ distance }}) +
  {%- endfor %}
            case
            {%- for name in score_classes() %}
                when label_class = {{ string_literal(name) }} then 0e0
            {%- endfor %}
                else 1e0
            end
{% endmacro %}

{# Rows whose probabilities of all classes do not sum to 1: they are none. #}
{% macro is_improper(names=none) %}
  {%- set names = names or class_score_names() -%}
  {{ return('abs(' ~ names | join(' + ') ~ ' - 1e0) > ' ~ double_literal(setting('score_sum_tolerance', '0.02'))) }}
{% endmacro %}

{# Pinball loss of the forecast as an estimate of the quantile q of the outcome. #}
{% macro pinball_loss(q) %}
  {{ return('greatest(' ~ double_literal(q) ~ ' * (outcome - forecast), (' ~ double_literal(q) ~ ' - 1e0) * (outcome - forecast))') }}
{% endmacro %}

{% macro pinball_quantiles() %}
  {{ return(fromjson(setting('quantiles', '[]')) if task() == 'regression' else []) }}
{% endmacro %}

{# Select items with the class probabilities, and aggregates with the pinball losses, of int_outcomes_counted. #}
{% macro named_class_scores(alias) %}
  {% set found = [] %}
  {% if has_class_scores() %}
    {% for score in class_scores(alias) %}{% do found.append(score ~ ' as ' ~ class_score_names()[loop.index0]) %}{% endfor %}
  {% endif %}
  {{ return(found) }}
{% endmacro %}

{% macro pinball_sums() %}
  {% set found = [] %}
  {% for q in pinball_quantiles() %}
    {% do found.append('sum(' ~ pinball_loss(q) ~ ') as sum_pinball_' ~ loop.index0) %}
    {% do found.append('sum(' ~ pinball_loss(q) ~ ' * ' ~ pinball_loss(q) ~ ') as sum_pinball_sq_' ~ loop.index0) %}
  {% endfor %}
  {{ return(found) }}
{% endmacro %}

{# The decision of a classifier: the logged class, else the score against the threshold, else the most probable class. #}
{% macro decided_class(alias) %}
  {%- set logged = alias ~ '.predicted_class' -%}
  {%- set score = finite(alias ~ '.score') -%}
  {%- if task() == 'binary_classification' -%}
  case
        when {{ logged }} is not null then {{ logged }}
        when {{ score }} >= {{ double_literal(setting('threshold')) }} then {{ string_literal(setting('positive')) }}
        when {{ score }} < {{ double_literal(setting('threshold')) }} then {{ string_literal(setting('negative')) }}
    end
  {%- elif has_class_scores() -%}
  {%- set scores = [] -%}
  {%- for name in score_classes() -%}{%- do scores.append(finite(alias ~ '.' ~ quoted('p_' ~ name))) -%}{%- endfor -%}
  case
        when {{ logged }} is not null then {{ logged }}
        {%- for name in score_classes() %}
        when {{ scores[loop.index0] }} = {{ largest(scores) }} then {{ string_literal(name) }}
        {%- endfor %}
    end
  {%- else -%}
  {{ logged }}
  {%- endif -%}
{% endmacro %}

{% macro largest(items) %}{{ return('greatest(' ~ items | join(', ') ~ ')' if items | length > 1 else items[0]) }}{% endmacro %}

{# Name of the column of int_predictions_labelled with the probability of the class at `index` of score_classes(). #}
{% macro class_score(index) %}{{ return('class_score_' ~ index) }}{% endmacro %}

{% macro has_class_scores() %}{{ return(task() == 'multiclass_classification' and (score_classes() | length) > 0) }}{% endmacro %}

{# A probability inside [1e-15, 1 - 1e-15]. #}
{% macro clipped(p) %}{{ return('greatest(1e-15, least(1e0 - 1e-15, ' ~ p ~ '))') }}{% endmacro %}

{# Equal-width bin 0 .. n-1 of a score; scores outside [0, 1] go to the outermost bins. #}
{% macro score_bin(score, n) %}
  {{ return(as_int('least(' ~ (n - 1) ~ ', greatest(0, floor(' ~ score ~ ' * ' ~ n ~ ')))')) }}
{% endmacro %}

{#
  Group 0..9 of what delayed labels may depend on (-1 unknown): tenths of the score, of the largest class probability, or
  for regression doublings of |error|, group 5 beginning at the label's reference standard deviation.
#}
{% macro score_group() %}
  {%- if task() == 'binary_classification' -%}
  coalesce({{ score_bin('score', 10) }}, -1)
  {%- elif has_class_scores() -%}
  {%- set names = [] -%}
  {%- for _ in score_classes() -%}{%- do names.append(class_score(loop.index0)) -%}{%- endfor -%}
  coalesce({{ score_bin(largest(names), 10) }}, -1)
  {%- elif task() == 'regression' -%}
  case
      when prediction is null or label_value is null then -1
      else {{ as_int('least(9, greatest(0, 5 + floor(log2(greatest(abs(prediction - label_value), 1e-300) / ' ~ double_literal(setting('error_scale', '1')) ~ '))))') }}
  end
  {%- else -%}
  -1
  {%- endif -%}
{% endmacro %}

{# Multiclass, per row of int_predictions_labelled: the probability given to the true class (0 for a class that was never
   scored), and the Brier score summed over classes; null unless every class has a probability. #}
{% macro probability_of_truth() %}
  {%- set names = [] -%}
  {%- for _ in score_classes() -%}{%- do names.append(class_score(loop.index0)) -%}{%- endfor -%}
  case
            when {{ names | join(' + ') }} is null then null
            {%- for name in score_classes() %}
            when label_class = {{ string_literal(name) }} then {{ class_score(loop.index0) }}
            {%- endfor %}
            else 0e0
        end
{% endmacro %}

{% macro multiclass_brier() %}
  {%- for name in score_classes() %}
  {%- set distance = class_score(loop.index0) ~ ' - case when label_class = ' ~ string_literal(name) ~ ' then 1e0 else 0e0 end' %}
            ({{ distance }}) * ({{ distance }}){{ ' +' if not loop.last }}
  {%- endfor %}
{% endmacro %}

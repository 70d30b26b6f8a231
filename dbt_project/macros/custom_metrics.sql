{#
  Metrics that users wrote in SQL, with or without need of a label: [{name, sql, value}], `value` the column of their values.
  Each expression stands on lines of its own, so that it may end in a comment.
#}
{% macro custom_metrics(needs_label) %}
  {% set found = [] %}
  {% for metric in control_custom_metrics() %}
    {% if metric.needs_label == needs_label %}
      {% do found.append({'name': metric.name, 'sql': '\n' ~ metric.sql ~ '\n', 'value': 'metric_value_' ~ loop.index0}) %}
    {% endif %}
  {% endfor %}
  {{ return(found) }}
{% endmacro %}

{#
  Sums per metric, window, version, segment and bucket; column `value` of a metric holds its value per row of `relation`
  (null where it is undefined). `keys`: further key columns of `relation`.
#}
{% macro metric_sums(metrics, relation, keys=[]) %}
  {%- set keys_csv = keys | join(', ') ~ (', ' if keys else '') -%}
  {%- for metric in metrics %}
  select window_key, model_version, segment, bucket, {{ keys_csv }}{{ string_literal(metric.name) }} as metric, n, sum_value, sum_value_sq
  from (
      {{ by_segment(relation, keys, [
          'count(' ~ metric.value ~ ') as n',
          'sum(' ~ metric.value ~ ') as sum_value',
          'sum(' ~ metric.value ~ ' * ' ~ metric.value ~ ') as sum_value_sq',
      ]) }}
  ) as sums
  where n > 0
  {{ 'union all' if not loop.last }}
  {%- endfor %}
  {%- if not metrics %}
  select
      {{ as_text('null') }} as window_key,
      {{ as_text('null') }} as model_version,
      {{ as_text('null') }} as segment,
      {{ as_int('null') }} as bucket,
      {{ as_text('null') }} as metric,
      {{ as_bigint('null') }} as n,
      {{ as_double('null') }} as sum_value,
      {{ as_double('null') }} as sum_value_sq
  where false
  {%- endif %}
{% endmacro %}

{# The columns of the marts of custom sums, from the rows of metric_sums. #}
{% macro metric_rows(relation) %}
    select
        sums.window_key,
        windows.window_start,
        sums.model_version,
        sums.segment,
        sums.bucket,
        sums.metric,
        {{ as_bigint('sums.n') }} as n,
        {{ as_double('sums.sum_value') }} as sum_value,
        {{ as_double('sums.sum_value_sq') }} as sum_value_sq
    from {{ relation }} as sums
    inner join {{ windows_table() }} as windows on sums.window_key = windows.window_key
{% endmacro %}

{# Value of a decision from the value matrix; null for pairs it does not name. #}
{% macro business_value(matrix) %}
  case
      when predicted_class is null or label_class is null then null
  {%- for predicted, row in matrix.items() %}
  {%- for actual, value in row.items() %}
      when predicted_class = {{ string_literal(predicted) }} and label_class = {{ string_literal(actual) }} then {{ double_literal(value) }}
  {%- endfor %}
  {%- endfor %}
  end
{% endmacro %}

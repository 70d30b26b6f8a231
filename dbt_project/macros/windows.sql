{# A filter of literals, so that only the folders of these windows are read. `windows`: default all of this run. #}
{% macro in_windows(column='window_key', windows=none) %}
  {% set keys = (control_windows() if windows is none else windows) | map(attribute='window_key') | sort | list %}
  {% if not keys %}{{ return('false') }}{% endif %}
  {{ return(column ~ ' between ' ~ string_literal(keys[0]) ~ ' and ' ~ string_literal(keys[-1])
    ~ ' and ' ~ column ~ ' in (' ~ string_list(keys) ~ ')') }}
{% endmacro %}

{# Windows of this run in which a prediction may have several rows of labels: all but those of which the intake knows better. #}
{% macro windows_with_repeated_labels() %}
  {{ return(control_windows() | rejectattr('may_repeat_labels', 'equalto', false) | list) }}
{% endmacro %}

{# Replaces the rows of the run's windows, also of those that have become empty, in the transaction of the model. #}
{% macro get_incremental_replace_windows_sql(arg_dict) %}
  {{ return(adapter.dispatch('get_incremental_replace_windows_sql')(arg_dict)) }}
{% endmacro %}

{% macro default__get_incremental_replace_windows_sql(arg_dict) %}
  {% set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) %}
  delete from {{ arg_dict['target_relation'] }} where {{ in_windows() }};
  insert into {{ arg_dict['target_relation'] }} ({{ columns }})
  select {{ columns }} from {{ arg_dict['temp_relation'] }}
{% endmacro %}

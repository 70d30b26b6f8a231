{#
  What the run works on: tables of schema `control`, written by sightline.warehouse.control before dbt starts.
  Small lists are read at execution time, so that --vars never change and the partial parse stays valid.
  The macros without arguments are the seams that unit tests override.
#}

{# Rows of a control table. They do not change while dbt runs, so each table is read once per run: `graph` is the one
   dictionary that all nodes of a run share. #}
{% macro control_rows(table) %}
  {% if not execute %}{{ return([]) }}{% endif %}
  {% set known = graph.setdefault('sightline_control', {}) %}
  {% if table not in known %}{% do known.update({table: read_control_rows(table)}) %}{% endif %}
  {{ return(known[table]) }}
{% endmacro %}

{% macro read_control_rows(table) %}
  {% set relation = adapter.get_relation(database=target.database, schema='control', identifier=table) %}
  {% if relation is none %}
    {% do exceptions.raise_compiler_error("table control." ~ table ~ " is missing in " ~ target.database
      ~ ": call sightline.warehouse.control.write_control before dbt") %}
  {% endif %}
  {% set rows = [] %}
  {% for row in run_query(rows_as_json(relation)) %}
    {% do rows.append(fromjson(row[0])) %}
  {% endfor %}
  {{ return(rows) }}
{% endmacro %}

{# Windows of this run: [{window_key, window_start, window_end, may_repeat_labels}], in time order. #}
{% macro control_windows() %}{{ return(control_rows('windows')) }}{% endmacro %}

{# Columns of the monitor: [{position, column_name, lake_column, kind, role, min, max, allowed, nullable, cuts, cut_bins}]. #}
{% macro control_columns() %}{{ return(control_rows('columns')) }}{% endmacro %}

{# Values with a segment of their own: [{segment_column, value}]. #}
{% macro control_segments() %}{{ return(control_rows('segments')) }}{% endmacro %}

{# Metrics written in SQL by the user: [{name, sql, needs_label}]. #}
{% macro control_custom_metrics() %}{{ return(control_rows('custom_metrics')) }}{% endmacro %}

{# Facts of the monitor: [{key, value}], values as text. #}
{% macro control_settings() %}{{ return(control_rows('settings')) }}{% endmacro %}

{% macro setting(key, default='') %}
  {% for row in control_settings() %}
    {% if row.key == key and row.value is not none %}{{ return(row.value) }}{% endif %}
  {% endfor %}
  {{ return(default) }}
{% endmacro %}

{# Relations of schema `control` that models join. #}
{% macro windows_table() %}{{ return(control_table('windows')) }}{% endmacro %}
{% macro bins_table() %}{{ return(control_table('bins')) }}{% endmacro %}
{% macro cuts_table() %}{{ return(control_table('cuts')) }}{% endmacro %}
{% macro items_table() %}{{ return(control_table('items')) }}{% endmacro %}
{% macro categories_table() %}{{ return(control_table('categories')) }}{% endmacro %}

{% macro control_table(table) %}
  {{ return(adapter.quote('control') ~ '.' ~ adapter.quote(table)) }}
{% endmacro %}

{# The columns (but the label) whose values are read as numbers, or as categories; `index` is the place in the list. #}
{% macro numeric_columns() %}{{ return(columns_of_kinds(['numeric', 'text', 'embedding'])) }}{% endmacro %}
{% macro category_columns() %}{{ return(columns_of_kinds(['categorical', 'boolean', 'datetime'])) }}{% endmacro %}
{% macro columns_of_kinds(kinds) %}
  {% set found = [] %}
  {% for column in control_columns() | rejectattr('role', 'equalto', 'label') | selectattr('kind', 'in', kinds) %}
    {% do found.append(dict(column, index=loop.index0)) %}
  {% endfor %}
  {{ return(found) }}
{% endmacro %}

{% macro boolean_columns() %}
  {{ return(control_columns() | selectattr('kind', 'equalto', 'boolean') | map(attribute='column_name') | list) }}
{% endmacro %}

{% macro label_column() %}
  {{ return(control_columns() | selectattr('role', 'equalto', 'label') | first | default(none)) }}
{% endmacro %}

{% macro prediction_column() %}
  {{ return(control_columns() | selectattr('column_name', 'equalto', '@prediction') | first | default(none)) }}
{% endmacro %}

{# Task of the monitor, and the classes whose probabilities are logged. #}
{% macro task() %}{{ return(setting('task')) }}{% endmacro %}
{% macro score_classes() %}{{ return(fromjson(setting('score_classes', '[]'))) }}{% endmacro %}

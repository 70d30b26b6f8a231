{#
  Segments. Rows are first reduced to cells: the combination of the segments' values. Every segment, and 'all', is then a sum
  of cells. With many segment columns the combinations would outnumber the rows, so columns are packed into groups of at
  most `max_cells` combinations; each group is one pass.
#}

{# [{name, lake_column, cell, group, values}] in order; `cell` is the name of the cell column. #}
{% macro segments(max_cells=2000) %}
  {% set names, found, state = [], [], namespace(group=0, cells=1) %}
  {% set rows = control_segments() %}
  {% for row in rows %}{% if row.segment_column not in names %}{% do names.append(row.segment_column) %}{% endif %}{% endfor %}
  {% for name in names %}
    {% set values = rows | selectattr('segment_column', 'equalto', name) | map(attribute='value') | list %}
    {% set size = (values | length) + 2 %}
    {% if state.cells > 1 and state.cells * size > max_cells %}
      {% set state.group = state.group + 1 %}{% set state.cells = 1 %}
    {% endif %}
    {% set state.cells = state.cells * size %}
    {% do found.append({'name': name, 'lake_column': 'g_' ~ name, 'cell': 'cell_' ~ loop.index0, 'group': state.group, 'values': values}) %}
  {% endfor %}
  {{ return(found) }}
{% endmacro %}

{% macro segment_groups() %}
  {{ return((segments() | map(attribute='group') | unique | list) or [0]) }}
{% endmacro %}

{# The value a row counts under: its own, '(other)' beyond the top values, '(null)' without one. #}
{% macro segment_value(segment, column) %}
  {{ return("case when " ~ column ~ " is null then '(null)' when " ~ column ~ " in (" ~ string_list(segment['values'])
    ~ ") then " ~ column ~ " else '(other)' end") }}
{% endmacro %}

{# Cell columns of a group (none: all), as select items; columns of other groups are null. `raw`: columns known to have few
   values stay as they are, for cell_value to map them after counting. #}
{% macro cell_columns(group=none, raw=false, alias='') %}
  {%- for segment in segments() %}
    {%- set column = alias ~ quoted(segment.lake_column) %}
    {%- if group is not none and segment.group != group %}
      {{ as_text('null') }} as {{ segment.cell }},
    {%- elif raw and has_few_values(segment) %}
      {{ column }} as {{ segment.cell }},
    {%- else %}
      {{ segment_value(segment, column) }} as {{ segment.cell }},
    {%- endif %}
  {%- endfor %}
{%- endmacro %}

{# Fewer values in the reference than there is room for: the column itself is a cheap key. #}
{% macro has_few_values(segment) %}{{ return((segment['values'] | length) < 20) }}{% endmacro %}

{# The mapped value of a cell column that cell_columns(raw=true) made; null stays null in cells of other groups. #}
{% macro cell_value(segment, alias) %}
  {%- set column = alias ~ '.' ~ segment['cell'] -%}
  {%- if has_few_values(segment) -%}
  case when {{ alias }}.cell_group = {{ segment['group'] }} then {{ segment_value(segment, column) }} end
  {%- else -%}
  {{ column }}
  {%- endif -%}
{%- endmacro %}

{% macro cell_names(alias='') %}
  {%- for segment in segments() %}{{ alias ~ '.' if alias }}{{ segment.cell }}, {% endfor -%}
{%- endmacro %}

{#
  Sums cells up to segments. `relation` has window_key, model_version, cell_group and the cell columns; `keys` are further
  key columns, `measures` select items with aggregates.
#}
{% macro roll_up(relation, keys, measures) %}
  {%- set keys_csv = keys | map('string') | join(', ') ~ (', ' if keys else '') -%}
  select window_key, model_version, 'all' as segment, {{ keys_csv }}{{ measures | join(', ') }}
  from {{ relation }} where cell_group = 0
  group by window_key, model_version{{ ', ' if keys }}{{ keys | join(', ') }}
  {%- for segment in segments() %}
  union all
  select window_key, model_version, {{ string_literal(segment.name ~ '=') }} || {{ segment.cell }} as segment, {{ keys_csv }}{{ measures | join(', ') }}
  from {{ relation }} where cell_group = {{ segment.group }}
  group by window_key, model_version, {{ segment.cell }}{{ ', ' if keys }}{{ keys | join(', ') }}
  {%- endfor %}
{%- endmacro %}

{#
  Sums rows that carry all cell columns. With `has_buckets` a segment keeps fewer jackknife buckets (`segment_buckets`).
#}
{% macro by_segment(relation, keys, measures, has_buckets=true) %}
  {%- set items = (['bucket'] if has_buckets else []) + keys -%}
  select window_key, model_version, 'all' as segment, {{ 'cast(bucket as integer) as bucket, ' if has_buckets }}{{ keys | join(', ') }}{{ ', ' if keys }}{{ measures | join(', ') }}
  from {{ relation }}
  group by window_key, model_version{{ ', ' if items }}{{ items | join(', ') }}
  {%- for segment in segments() %}
  union all
  select window_key, model_version, {{ string_literal(segment.name ~ '=') }} || {{ segment.cell }} as segment, {{ 'cast(bucket % ' ~ setting('segment_buckets') ~ ' as integer) as bucket, ' if has_buckets }}{{ keys | join(', ') }}{{ ', ' if keys }}{{ measures | join(', ') }}
  from {{ relation }}
  group by window_key, model_version, {{ segment.cell }}{{ ', bucket % ' ~ setting('segment_buckets') if has_buckets }}{{ ', ' if keys }}{{ keys | join(', ') }}
  {%- endfor %}
{%- endmacro %}

{# Aggregate: how many finite values lie outside the column's contract. #}
{% macro out_of_contract(x, column) %}
  {%- set rules = [] -%}
  {%- if column['min'] is not none -%}{%- do rules.append(x ~ ' < ' ~ double_literal(column['min'])) -%}{%- endif -%}
  {%- if column['max'] is not none -%}{%- do rules.append(x ~ ' > ' ~ double_literal(column['max'])) -%}{%- endif -%}
  {{ return(count_where(rules | join(' or ')) if rules else '0') }}
{% endmacro %}

{# The bins of a column that no value names: for null, not finite, unseen and other values. One row per column. #}
{% macro special_bins() %}
  select
      column_name,
      max(case when bin_kind = 'null' then bin_id end) as null_bin,
      max(case when bin_kind = 'not_finite' then bin_id end) as not_finite_bin,
      coalesce(
          max(case when bin_kind = 'unseen' then bin_id end), max(case when bin_kind = 'other' then bin_id end)
      ) as unseen_bin
  from {{ bins_table() }}
  group by column_name
{% endmacro %}

{# Is `value` outside the allowed values of its column? Null values are not. #}
{% macro not_allowed(columns, name='column_name', value='value') %}
  {%- set limited = columns | selectattr('allowed') | list -%}
  {%- if not limited -%}false{%- else -%}
  case {{ name }}
  {%- for column in limited %}
      when {{ string_literal(column['column_name']) }} then {{ value }} is not null and {{ value }} not in ({{ string_list(column['allowed']) }})
  {%- endfor %}
      else false
  end
  {%- endif -%}
{% endmacro %}

{# Is null outside the contract of the column? #}
{% macro null_not_allowed(columns, name='column_name') %}
  {%- set required = columns | rejectattr('nullable') | map(attribute='column_name') | list -%}
  {{ return(name ~ ' in (' ~ string_list(required) ~ ')' if required else 'false') }}
{% endmacro %}

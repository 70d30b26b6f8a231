{# Schemas are named exactly as configured (staging, intermediate, marts): every monitor has a warehouse of its own. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}

{# Names and values from the control tables reach SQL only through these macros. #}

{% macro quoted(name) %}{{ return(adapter.dispatch('quoted')(name)) }}{% endmacro %}
{% macro default__quoted(name) %}{{ return('"' ~ (name | string | replace('"', '""')) ~ '"') }}{% endmacro %}
{% macro string_literal(text) %}{{ return(adapter.dispatch('string_literal')(text)) }}{% endmacro %}
{% macro default__string_literal(text) %}{{ return("'" ~ (text | string | replace("'", "''")) ~ "'") }}{% endmacro %}

{# A double, always with an exponent: 0.1 alone would be a decimal. #}
{% macro double_literal(number) %}
  {% set text = (number | float) | string %}
  {{ return(text if 'e' in text else text ~ 'e0') }}
{% endmacro %}

{# Literals of a list, separated by commas: escaped at once, as lists of windows can be long. #}
{% macro string_list(values) %}{{ return(adapter.dispatch('string_list')(values | list)) }}{% endmacro %}
{% macro default__string_list(values) %}
  {{ return("'" ~ (values | map('string') | map('replace', "'", "''") | join("', '")) ~ "'" if values else '') }}
{% endmacro %}

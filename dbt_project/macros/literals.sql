{# Names and values from the control tables reach SQL only through these three. #}

{% macro quoted(name) %}{{ return('"' ~ (name | string | replace('"', '""')) ~ '"') }}{% endmacro %}
{% macro string_literal(text) %}{{ return(adapter.dispatch('string_literal')(text)) }}{% endmacro %}
{% macro default__string_literal(text) %}{{ return("'" ~ (text | string | replace("'", "''")) ~ "'") }}{% endmacro %}

{# A double, always with an exponent: 0.1 alone would be a decimal. #}
{% macro double_literal(number) %}
  {% set text = (number | float) | string %}
  {{ return(text if 'e' in text else text ~ 'e0') }}
{% endmacro %}

{% macro string_list(values) %}
  {% set literals = [] %}
  {% for value in values %}{% do literals.append(string_literal(value)) %}{% endfor %}
  {{ return(literals | join(', ')) }}
{% endmacro %}

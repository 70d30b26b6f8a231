{# Whether a row is production's and not a shadow's. As sightline.spec.shadows.production_sql says it to Python. #}
{% macro is_production() %}
  {% set found = [] %}
  {% for version, key in fromjson(setting('shadows', '{}')).items() %}
    {% set other = 'model_version <> ' ~ string_literal(version) %}
    {% do found.append(other if key is none else '(' ~ other ~ ' or window_key >= ' ~ string_literal(key) ~ ')') %}
  {% endfor %}
  {{ return(found | join(' and ') if found else 'true') }}
{% endmacro %}

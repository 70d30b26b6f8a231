{# Every value of the column is one of `values` (or lies between `low` and `high`) in the windows of this run. #}
{% test accepted_in_run(model, column_name, values=none, low=none, high=none) %}
select {{ column_name }}
from {{ model }}
where {{ in_windows() }}
{%- if values is not none %}
    and {{ column_name }} not in ({{ string_list(values) }})
{%- else %}
    and not ({{ column_name }} between {{ low }} and {{ high }})
{%- endif %}
{% endtest %}

{# Makes: one wide SELECT per group of segments, with some eight aggregates for every column that is read as a number. Compiled: docs/compiled_sql.md #}
{# One pass over the rows: everything is a wide conditional aggregate, long form comes after it. #}
{{ config(materialized='table') }}
{%- set columns = numeric_columns() %}

{% for group in segment_groups() %}
select
    {{ group }} as cell_group,
    window_key,
    model_version,
    {{ cell_names() }}
    {%- for column in columns %}
    count(reading_{{ loop.index0 }}) as n_present_{{ loop.index0 }},
    count(x_{{ loop.index0 }}) as n_finite_{{ loop.index0 }},
    {{ out_of_contract('x_' ~ loop.index0, column) }} as n_out_of_range_{{ loop.index0 }},
    {{ steady_sum_near('x_' ~ loop.index0, 1, column['cuts']) }} as sum_x_{{ loop.index0 }},
    {{ steady_sum_near('x_' ~ loop.index0, 2, column['cuts']) }} as sum_xx_{{ loop.index0 }},
    min(x_{{ loop.index0 }}) as min_x_{{ loop.index0 }},
    max(x_{{ loop.index0 }}) as max_x_{{ loop.index0 }},
    {%- if column['cuts'] %}
    {{ cut_counts('x_' ~ loop.index0, column['cuts']) }} as counts_{{ loop.index0 }},
    {%- endif %}
    {%- endfor %}
    count(*) as n_rows
from (
    select
        *
        {%- for column in columns %},
        {{ finite('reading_' ~ loop.index0) }} as x_{{ loop.index0 }}
        {%- endfor %}
    from (
        select
            window_key,
            {{ cell_columns(group) }}
            {%- for column in columns %}
            {{ numeric_reading(column) }} as reading_{{ loop.index0 }},
            {%- endfor %}
            model_version
        from {{ ref('stg_inferences') }}
        where {{ in_windows() }}
    ) as readings
) as numbers
group by {{ cell_names() }} window_key, model_version
{% if not loop.last %}union all{% endif %}
{% endfor %}

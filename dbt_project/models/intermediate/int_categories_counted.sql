-- depends_on: {{ ref('stg_inferences') }}
{# Makes: one SELECT per group of segments and per categorical or boolean column, all united; then bins looked up on the counts. Compiled: docs/compiled_sql.md #}
{# Rows are counted per raw value, one column at a time; bins, contract and segments are looked up on the counts. #}
{{ config(materialized='table') }}
{%- set columns = category_columns() %}

with values_counted as (
    {%- for group in segment_groups() %}
    {%- set outer_last = loop.last %}
    {%- for column in columns %}
    select
        {{ group }} as cell_group,
        window_key,
        model_version,
        {{ cell_columns(group, raw=true) }}
        {{ string_literal(column['column_name']) }} as column_name,
        {{ category_reading(column) }} as value,
        count(*) as n
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }}
    group by {{ cell_names() }} window_key, model_version, value
    {%- if not (loop.last and outer_last) %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endfor %}
    {%- if not columns %}
    select
        0 as cell_group,
        {{ as_text('null') }} as window_key,
        {{ as_text('null') }} as model_version,
        {% for segment in segments() %}{{ as_text('null') }} as {{ segment.cell }}, {% endfor %}
        {{ as_text('null') }} as column_name,
        {{ as_text('null') }} as value,
        0 as n
    where false
    {%- endif %}
),

bins as (
    {{ special_bins() }}
),

placed as (
    select
        counted.cell_group,
        counted.window_key,
        counted.model_version,
        {%- for segment in segments() %}
        {{ cell_value(segment, 'counted') }} as {{ segment.cell }},
        {%- endfor %}
        counted.column_name,
        case
            when counted.value is null then bins.null_bin
            else coalesce(categories.bin_id, bins.unseen_bin)
        end as bin_id,
        counted.n,
        case when counted.value is null then counted.n else 0 end as n_null,
        case when {{ not_allowed(columns, 'counted.column_name', 'counted.value') }}
                or (counted.value is null and {{ null_not_allowed(columns, 'counted.column_name') }})
            then counted.n else 0 end as n_contract,
        case when counted.value = 'true' then counted.n else 0 end as n_true
    from values_counted as counted
    left join bins on counted.column_name = bins.column_name
    left join {{ categories_table() }} as categories
        on counted.column_name = categories.column_name and counted.value = categories.value
)

select
    cell_group,
    window_key,
    model_version,
    {{ cell_names() }}
    column_name,
    bin_id,
    {{ as_bigint('sum(n)') }} as n,
    {{ as_bigint('sum(n_null)') }} as n_null,
    {{ as_bigint('sum(n_contract)') }} as n_contract,
    {{ as_bigint('sum(n_true)') }} as n_true
from placed
group by cell_group, window_key, model_version, {{ cell_names() }} column_name, bin_id

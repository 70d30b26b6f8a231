{# Makes: one SELECT per numeric column that unfolds its counts per cut, united with the categories, then one sum per segment. Compiled: docs/compiled_sql.md #}
with numeric_columns as (
    select * from {{ of_this_run(ref('int_numeric_columns_aggregated')) }}
),

categories as (
    select * from {{ of_this_run(ref('int_categories_counted')) }}
),

bins as (
    {{ special_bins() }}
),

cuts_counted as (
    {%- for column in numeric_columns() if column['cuts'] %}
    select
        cell_group,
        window_key,
        model_version,
        {{ cell_names() }}
        {{ string_literal(column['column_name']) }} as column_name,
        {{ explode_counts('counts_' ~ (column['index'])) }}
    from numeric_columns
    union all
    {%- endfor %}
    select
        cell_group,
        window_key,
        model_version,
        {{ cell_names() }}
        '' as column_name,
        {{ as_double('null') }} as cut,
        0 as n
    from numeric_columns
    where false
),

not_numbers as (
    {%- for column in numeric_columns() if column['cuts'] %}
    select
        cell_group,
        window_key,
        model_version,
        {{ cell_names() }}
        {{ string_literal(column['column_name']) }} as column_name,
        n_rows - n_present_{{ column['index'] }} as n_null,
        n_present_{{ column['index'] }} - n_finite_{{ column['index'] }} as n_not_finite
    from numeric_columns
    union all
    {%- endfor %}
    select
        cell_group,
        window_key,
        model_version,
        {{ cell_names() }}
        '' as column_name,
        0 as n_null,
        0 as n_not_finite
    from numeric_columns
    where false
),

cells as (
    select cell_group, window_key, model_version, {{ cell_names() }} column_name, bin_id, n
    from categories
    union all
    select counted.cell_group, counted.window_key, counted.model_version, {{ cell_names('counted') }} counted.column_name, cuts.bin_id, counted.n
    from cuts_counted as counted
    inner join {{ cuts_table() }} as cuts on counted.column_name = cuts.column_name and counted.cut = cuts.cut
    union all
    select counted.cell_group, counted.window_key, counted.model_version, {{ cell_names('counted') }} counted.column_name, bins.null_bin, counted.n_null
    from not_numbers as counted
    inner join bins on counted.column_name = bins.column_name
    union all
    select counted.cell_group, counted.window_key, counted.model_version, {{ cell_names('counted') }} counted.column_name, bins.not_finite_bin, counted.n_not_finite
    from not_numbers as counted
    inner join bins on counted.column_name = bins.column_name
),

counted_cells as (
    select * from cells where bin_id is not null and n > 0
),

segments as (
    {{ roll_up('counted_cells', ['column_name', 'bin_id'], ['sum(n) as n']) }}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.column_name,
        {{ as_int('segments.bin_id') }} as bin_id,
        {{ as_bigint('segments.n') }} as n
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

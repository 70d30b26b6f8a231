{# Makes: one SELECT per numeric column (wide to long), united with the categories, then one sum per segment. Compiled: docs/compiled_sql.md #}
with numeric_columns as (
    select * from {{ of_this_run(ref('int_numeric_columns_aggregated')) }}
),

categories as (
    select * from {{ of_this_run(ref('int_categories_counted')) }}
),

cells as (
    select
        cell_group,
        window_key,
        model_version,
        {{ cell_names() }}
        column_name,
        n as n_rows,
        n_null,
        0 as n_not_finite,
        n_contract,
        {{ as_double('null') }} as sum_x,
        {{ as_double('null') }} as sum_xx,
        {{ as_double('null') }} as min_x,
        {{ as_double('null') }} as max_x,
        {{ as_bigint('null') }} as n_true
    from categories
    where column_name not in ({{ string_list(boolean_columns()) or "''" }})
    union all
    select
        cell_group,
        window_key,
        model_version,
        {{ cell_names() }}
        column_name,
        n as n_rows,
        n_null,
        0 as n_not_finite,
        n_contract,
        n_true as sum_x,
        n_true as sum_xx,
        case when n_null = n then null when n_true = n - n_null then 1 else 0 end as min_x,
        case when n_null = n then null when n_true > 0 then 1 else 0 end as max_x,
        n_true
    from categories
    where column_name in ({{ string_list(boolean_columns()) or "''" }})
    {%- for column in numeric_columns() %}
    union all
    select
        cell_group,
        window_key,
        model_version,
        {{ cell_names() }}
        {{ string_literal(column['column_name']) }} as column_name,
        n_rows,
        n_rows - n_present_{{ loop.index0 }} as n_null,
        n_present_{{ loop.index0 }} - n_finite_{{ loop.index0 }} as n_not_finite,
        n_out_of_range_{{ loop.index0 }}{% if not column['nullable'] %} + n_rows - n_present_{{ loop.index0 }}{% endif %} as n_contract,
        sum_x_{{ loop.index0 }} as sum_x,
        sum_xx_{{ loop.index0 }} as sum_xx,
        min_x_{{ loop.index0 }} as min_x,
        max_x_{{ loop.index0 }} as max_x,
        null as n_true
    from numeric_columns
    {%- endfor %}
),

segments as (
    {{ roll_up('cells', ['column_name'], [
        'sum(n_rows) as n_rows', 'sum(n_null) as n_null', 'sum(n_not_finite) as n_not_finite',
        'sum(n_contract) as n_contract', 'sum(sum_x) as sum_x', 'sum(sum_xx) as sum_xx',
        'min(min_x) as min_x', 'max(max_x) as max_x', 'sum(n_true) as n_true',
    ]) }}
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        segments.column_name,
        {{ as_bigint('segments.n_rows') }} as n_rows,
        {{ as_bigint('segments.n_null') }} as n_null,
        {{ as_bigint('segments.n_not_finite') }} as n_not_finite,
        {{ as_bigint('segments.n_contract') }} as n_contract,
        {{ as_double('segments.sum_x') }} as sum_x,
        {{ as_double('segments.sum_xx') }} as sum_xx,
        {{ as_double('segments.min_x') }} as min_x,
        {{ as_double('segments.max_x') }} as max_x,
        {{ as_bigint('segments.n_true') }} as n_true
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

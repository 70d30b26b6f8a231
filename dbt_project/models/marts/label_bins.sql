with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where not is_delay
),

bins as (
    {{ special_bins() }}
),

counted as (
    {%- if task() in ('regression', 'ranking', 'text_generation') %}
    select
        outcomes.window_key,
        outcomes.model_version,
        outcomes.segment,
        case when outcomes.n_label_value = 0 then bins.null_bin else outcomes.label_bin end as bin_id,
        outcomes.n
    from outcomes
    inner join bins on bins.column_name = '@label'
    {%- else %}
    select
        outcomes.window_key,
        outcomes.model_version,
        outcomes.segment,
        case when outcomes.label_class is null then bins.null_bin else coalesce(categories.bin_id, bins.unseen_bin) end as bin_id,
        outcomes.n
    from outcomes
    inner join bins on bins.column_name = '@label'
    left join {{ categories_table() }} as categories
        on categories.column_name = '@label' and outcomes.label_class = categories.value
    {%- endif %}
),

segments as (
    select window_key, model_version, segment, bin_id, sum(n) as n
    from counted
    where bin_id is not null
    group by window_key, model_version, segment, bin_id
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        '@label' as column_name,
        {{ as_int('segments.bin_id') }} as bin_id,
        {{ as_bigint('segments.n') }} as n
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

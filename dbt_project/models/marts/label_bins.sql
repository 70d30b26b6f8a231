{%- set column = label_column() %}
with labelled as (
    select * from {{ of_this_run(ref('int_predictions_labelled')) }}
),

bins as (
    {{ special_bins() }}
),

{%- if column and column['kind'] == 'numeric' %}

counted_per_segment as (
    {{ by_segment('labelled', [], [
        cut_counts('label_value', column['cuts']) ~ ' as counts' if column['cuts'] else 'count(*) as counts',
        'count(*) - count(label_value) as n_null',
    ], has_buckets=false) }}
),

counted as (
    {%- if column['cuts'] %}
    select exploded.window_key, exploded.model_version, exploded.segment, cuts.bin_id, exploded.n
    from (select window_key, model_version, segment, {{ explode_counts('counts') }} from counted_per_segment) as exploded
    inner join {{ cuts_table() }} as cuts on cuts.column_name = '@label' and exploded.cut = cuts.cut
    union all
    {%- endif %}
    select window_key, model_version, segment, null_bin as bin_id, n_null as n
    from counted_per_segment
    inner join bins on bins.column_name = '@label'
),
{%- else %}

counted_per_segment as (
    {{ by_segment('labelled', ['label_class'], ['count(*) as n'], has_buckets=false) }}
),

counted as (
    select
        counted.window_key,
        counted.model_version,
        counted.segment,
        case when counted.label_class is null then bins.null_bin else coalesce(categories.bin_id, bins.unseen_bin) end as bin_id,
        counted.n
    from counted_per_segment as counted
    inner join bins on bins.column_name = '@label'
    left join {{ categories_table() }} as categories
        on categories.column_name = '@label' and counted.label_class = categories.value
),
{%- endif %}

segments as (
    select window_key, model_version, segment, bin_id, sum(n) as n
    from counted
    where bin_id is not null and n > 0
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

with outcomes as (
    select * from {{ of_this_run(ref('int_outcomes_counted')) }} where not is_delay
),

{# The number of a label: the value (regression), 1 or 0 (binary). #}
segments as (
    select
        window_key,
        model_version,
        segment,
        sum(n) as n_rows,
        {%- if task() == 'binary_classification' %}
        sum(case when label_class is null then n else 0 end) as n_null,
        sum(case when label_class = {{ string_literal(setting('positive')) }} then n when label_class is not null then 0 end) as sum_x,
        sum(case when label_class = {{ string_literal(setting('positive')) }} then n when label_class is not null then 0 end) as sum_xx,
        min(case when label_class = {{ string_literal(setting('positive')) }} then 1 when label_class is not null then 0 end) as min_x,
        max(case when label_class = {{ string_literal(setting('positive')) }} then 1 when label_class is not null then 0 end) as max_x,
        sum(case when label_class = {{ string_literal(setting('positive')) }} then n else 0 end) as n_true
        {%- elif task() == 'multiclass_classification' %}
        sum(case when label_class is null then n else 0 end) as n_null,
        null as sum_x,
        null as sum_xx,
        null as min_x,
        null as max_x,
        null as n_true
        {%- else %}
        sum(n - n_label_value) as n_null,
        sum(sum_label_value) as sum_x,
        sum(sum_label_value_sq) as sum_xx,
        min(min_label_value) as min_x,
        max(max_label_value) as max_x,
        null as n_true
        {%- endif %}
    from outcomes
    group by window_key, model_version, segment
),

final as (
    select
        segments.window_key,
        windows.window_start,
        segments.model_version,
        segments.segment,
        '@label' as column_name,
        {{ as_bigint('segments.n_rows') }} as n_rows,
        {{ as_bigint('segments.n_null') }} as n_null,
        {{ as_bigint('0') }} as n_not_finite,
        {{ as_bigint('0') }} as n_contract,
        {{ as_double('segments.sum_x') }} as sum_x,
        {{ as_double('segments.sum_xx') }} as sum_xx,
        {{ as_double('segments.min_x') }} as min_x,
        {{ as_double('segments.max_x') }} as max_x,
        {{ as_bigint('segments.n_true') }} as n_true
    from segments
    inner join {{ windows_table() }} as windows on segments.window_key = windows.window_key
)

select * from final

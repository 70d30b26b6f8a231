{#
  Ranking: rows of one `query_id` and model version within a window are one list, ranked by falling score. Rows of equal
  score stand in random order: all values are expectations over these orders, as in metrics_py/quality/queries.py.
#}

{# Places that are looked at. #}
{% macro ranking_places() %}{{ return(setting('ranking_k', '10') | int) }}{% endmacro %}

{# Metrics of int_queries_ranked: [{name, value}]; `value` is null for a query that the metric does not count. #}
{% macro ranking_metrics() %}
  {% set found = [] %}
  {% for name in ['ndcg', 'map', 'mrr', 'precision_at_k', 'recall_at_k', 'hit_rate_at_k', 'relevant_query_rate', 'complete_query_rate'] %}
    {% do found.append({'name': name, 'value': name}) %}
  {% endfor %}
  {{ return(found) }}
{% endmacro %}

{# Sums over the first n places of 1 / log2(place + 1) (`discount`) or 1 / place, for n = 0 .. k. #}
{% macro places_summed(kind) %}
  {% set found = ['0e0'] %}
  {% for total in fromjson(setting('ranking_' ~ kind ~ 's', '[]')) %}{% do found.append(double_literal(total)) %}{% endfor %}
  {{ return(found) }}
{% endmacro %}

{% macro sum_up_to(kind, n) %}{{ return(list_item(places_summed(kind), n)) }}{% endmacro %}

{#
  CTE `ranked_rows`: rows with a query and a score of the run's windows. A query belongs to the window of its first row: rows
  that follow one of the window before within half an hour are left out, so that no query counts twice.
#}
{% macro ranked_rows(items=[]) %}
{%- set gap, window = 1800, double_literal(setting('window_seconds', '86400')) %}
query_rows as (
    select
        window_key,
        window_start,
        prediction_id,
        model_version,
        query_id,
        predicted_at,
        bucket,
        {{ cell_columns() }}
        {%- for item in items %}
        {{ item }},
        {%- endfor %}
        {{ finite('score') }} as score
    from {{ ref('stg_inferences') }}
    where {{ in_windows() }} and query_id is not null
),

queries_ended as (
    select window_start, model_version, query_id, max(predicted_at) as last_at
    from {{ ref('stg_inferences') }}
    where {{ in_windows(windows=windows_before()) }} and query_id is not null
        and {{ seconds_between('window_start', 'predicted_at') }} > {{ window }} - {{ gap }}
    group by window_start, model_version, query_id
),

queries_begun as (
    select window_start, model_version, query_id, min(predicted_at) as first_at
    from query_rows
    group by window_start, model_version, query_id
),

queries_continued as (
    select begun.window_start, begun.model_version, begun.query_id
    from queries_begun as begun
    inner join queries_ended as ended on begun.model_version = ended.model_version and begun.query_id = ended.query_id
    where abs({{ seconds_between('ended.window_start', 'begun.window_start') }} - {{ window }}) < 1
        and {{ seconds_between('ended.last_at', 'begun.first_at') }} < {{ gap }}
),

ranked_rows as (
    select query_rows.*
    from query_rows
    left join queries_continued as continued
        on query_rows.window_start = continued.window_start
        and query_rows.model_version = continued.model_version
        and query_rows.query_id = continued.query_id
    where continued.query_id is null and query_rows.score is not null
)
{% endmacro %}

{# Windows before those of the run: only their last half hour is looked at. #}
{% macro windows_before() %}
  {% set found = [] %}
  {% for key in fromjson(setting('windows_before', '[]')) %}{% do found.append({'window_key': key}) %}{% endfor %}
  {{ return(found) }}
{% endmacro %}

{# Rows of `relation` once for the whole and once for their value of each segment column: in a segment a query is its rows there. #}
{% macro lists_by_segment(relation, columns) %}
    select window_key, model_version, 'all' as segment, query_id, bucket, {{ columns | join(', ') }}
    from {{ relation }}
    {%- for segment in segments() %}
    union all
    select window_key, model_version, {{ string_literal(segment.name ~ '=') }} || {{ segment.cell }} as segment, query_id, bucket % {{ setting('segment_buckets') }} as bucket, {{ columns | join(', ') }}
    from {{ relation }}
    {%- endfor %}
{% endmacro %}

{#
  Rows of equal score of each list, joined into one, with `tied` (their number) and the sums `sums` ({name: aggregate}); `above`
  and `above_<name>` are the same of the rows before them; `first_place` and `last_place` what they fill of the first k
  places (0 .. k, half-open).
#}
{% macro tied_rows(relation, sums) %}
{%- set list, k = 'window_key, model_version, segment, query_id', ranking_places() %}
    select
        *,
        least(above, {{ k }}) as first_place,
        least(above + tied, {{ k }}) as last_place
    from (
        select
            *,
            (sum(tied) over in_order) - tied as above
            {%- for name in sums %},
            (sum({{ name }}) over in_order) - {{ name }} as above_{{ name }}
            {%- endfor %}
        from (
            select {{ list }}, score, {{ as_double('count(*)') }} as tied
                {%- for name, aggregate in sums.items() %}, {{ as_double(aggregate) }} as {{ name }}{% endfor %}
            from {{ relation }}
            group by {{ list }}, score
        ) as ties
        window in_order as (partition by {{ list }} order by score desc rows unbounded preceding)
    ) as stacked
{% endmacro %}

{# Logarithm of the number of ways to choose k of n. #}
{% macro log_choose(n, k) %}
  {{ return('(' ~ log_gamma('(' ~ n ~ ') + 1e0') ~ ' - ' ~ log_gamma('(' ~ k ~ ') + 1e0') ~ ' - ' ~ log_gamma('(' ~ n ~ ') - (' ~ k ~ ') + 1e0') ~ ')') }}
{% endmacro %}

{# The column of the recommended item; none where the monitor's file names none. #}
{% macro ranked_item() %}{{ return(setting('ranking_item')) }}{% endmacro %}

{#
  CTEs of what needs no label: `item_means`, one row per list with the mean popularity and novelty of its first k places, and
  `items_shown`, one row per bucket of the reference's items with how many of them some list shows there.
#}
{% macro ranked_items() %}
{%- set list, k = 'window_key, model_version, segment, query_id', ranking_places() %}
{{ ranked_rows([as_text(quoted(ranked_item())) ~ ' as item']) }},

ranked_items as (
    select
        ranked_rows.*,
        coalesce(items.popularity, others.popularity) as popularity,
        coalesce(items.novelty, others.novelty) as novelty
    from ranked_rows
    cross join (select popularity, novelty from {{ items_table() }} where item is null) as others
    left join {{ items_table() }} as items on ranked_rows.item = items.item
    where ranked_rows.item is not null
),

item_lists as (
    {{ lists_by_segment('ranked_items', ['prediction_id', 'score', 'item', 'popularity', 'novelty']) }}
),

item_ties as (
    {{ tied_rows('item_lists', {'popularity': 'sum(popularity)', 'novelty': 'sum(novelty)'}) }}
),

list_buckets as (
    select {{ list }}, cast(min_by(bucket, prediction_id) as integer) as bucket, least(count(*), {{ k }}) as places
    from item_lists
    group by {{ list }}
),

item_means as (
    select
        buckets.window_key,
        buckets.model_version,
        buckets.segment,
        buckets.bucket,
        {%- for name in ['popularity', 'novelty'] %}
        sum(ties.{{ name }} / ties.tied * (ties.last_place - ties.first_place)) / min(buckets.places) as {{ name }}_at_k{{ ',' if not loop.last }}
        {%- endfor %}
    from item_ties as ties
    inner join list_buckets as buckets
        on ties.window_key = buckets.window_key
        and ties.model_version = buckets.model_version
        and ties.segment = buckets.segment
        and ties.query_id = buckets.query_id
    group by buckets.window_key, buckets.model_version, buckets.segment, buckets.query_id, buckets.bucket
),

items_placed as (
    select
        window_key,
        model_version,
        segment,
        item,
        row_number() over (partition by {{ list }} order by score desc, prediction_id) as place
    from item_lists
),

items_by_list as (
    select distinct window_key, model_version, segment, item from items_placed where place <= {{ k }}
),

shelves as (
    select 'all' as kind, bucket, item from {{ items_table() }} where item is not null
    union all
    select 'segment' as kind, bucket % {{ setting('segment_buckets') }} as bucket, item from {{ items_table() }} where item is not null
),

items_shown as (
    select
        cells.window_key,
        cells.model_version,
        cells.segment,
        shelves.bucket,
        count(*) as n,
        count(shown.item) as n_shown
    from (select distinct window_key, model_version, segment from item_lists) as cells
    inner join shelves on shelves.kind = case when cells.segment = 'all' then 'all' else 'segment' end
    left join items_by_list as shown
        on cells.window_key = shown.window_key
        and cells.model_version = shown.model_version
        and cells.segment = shown.segment
        and shelves.item = shown.item
    group by cells.window_key, cells.model_version, cells.segment, shelves.bucket
)
{% endmacro %}

-- depends_on: {{ ref('stg_inferences') }}, {{ ref('int_labels_current') }}
{# Makes: the lists of every query in every segment, their tied rows joined, and one row per list; an empty table without ranking. #}
{# Where only relevant rows are reported (`labels.silence: negative`) a row without a label is irrelevant; else its query is not complete. #}
{{ config(materialized='batched_table') }}
{%- set k, list = ranking_places(), 'window_key, model_version, segment, query_id' %}

{%- if task() == 'ranking' %}
with {{ ranked_rows() }},

labelled as (
    select
        ranked_rows.*,
        {%- if silence_is_negative() %}
        case when labels.label_value > 0 then labels.label_value else 0e0 end as relevance
        {%- else %}
        case when labels.label_value < 0 then 0e0 else labels.label_value end as relevance
        {%- endif %}
    from ranked_rows
    left join {{ ref('int_labels_current') }} as labels
        on ranked_rows.window_start = labels.window_start and ranked_rows.prediction_id = labels.prediction_id
),

lists as (
    {{ lists_by_segment('labelled', ['prediction_id', 'score', 'relevance']) }}
),

queries as (
    select
        {{ list }},
        cast(min_by(bucket, prediction_id) as integer) as bucket,
        count(*) as n_rows,
        count(relevance) as n_labelled,
        {{ count_where('relevance > 0') }} as n_relevant
    from lists
    group by {{ list }}
),

judged as (
    select * from queries where n_rows > 1 and n_labelled = n_rows and n_relevant > 0
),

judged_rows as (
    select lists.*
    from lists
    inner join judged
        on lists.window_key = judged.window_key
        and lists.model_version = judged.model_version
        and lists.segment = judged.segment
        and lists.query_id = judged.query_id
),

best_orders as (
    select
        *,
        row_number() over (partition by {{ list }} order by relevance desc) as place
    from judged_rows
    where relevance > 0
),

best as (
    select
        {{ list }},
        sum(relevance * ({{ sum_up_to('discount', 'place') }} - {{ sum_up_to('discount', 'place - 1') }})) as gain
    from best_orders
    where place <= {{ k }}
    group by {{ list }}
),

ties as (
    {{ tied_rows('judged_rows', {'gain': 'sum(relevance)', 'relevant': count_where('relevance > 0')}) }}
),

shares as (
    select
        *,
        relevant / tied as chance,
        case when tied > 1 then (relevant - 1) / (tied - 1) else 0e0 end as chance_of_others
    from ties
    where first_place < last_place and relevant > 0
),

gains as (
    select
        {{ list }},
        sum(gain / tied * ({{ sum_up_to('discount', 'last_place') }} - {{ sum_up_to('discount', 'first_place') }})) as gain,
        sum(chance * (last_place - first_place)) as hits,
        sum(chance * (
            (above_relevant + 1 - (above + 1) * chance_of_others)
            * ({{ sum_up_to('place', 'last_place') }} - {{ sum_up_to('place', 'first_place') }})
            + chance_of_others * (last_place - first_place)
        )) as precisions
    from shares
    group by {{ list }}
),

places as (
    {%- for place in range(1, k + 1) %}
    select {{ place }} as place{{ ' union all' if not loop.last }}
    {%- endfor %}
),

first_relevant as (
    select
        {{ list }},
        place,
        exp({{ log_choose('tied - (place - above)', 'relevant - 1') }} - {{ log_choose('tied', 'relevant') }}) as chance
    from shares
    inner join places on places.place > shares.first_place and places.place <= shares.last_place
    where above_relevant = 0 and tied - (place - above - 1) >= relevant
),

firsts as (
    select {{ list }}, sum(chance) as hit, sum(chance / place) as reciprocal
    from first_relevant
    group by {{ list }}
)

select
    queries.window_key,
    queries.model_version,
    queries.segment,
    queries.query_id,
    queries.bucket,
    {{ as_bigint('queries.n_rows') }} as n_rows,
    {{ as_bigint('queries.n_labelled') }} as n_labelled,
    {{ as_bigint('queries.n_relevant') }} as n_relevant,
    coalesce(gains.gain, 0e0) / best.gain as ndcg,
    case when best.gain is not null then coalesce(gains.precisions, 0e0) / least(queries.n_relevant, {{ k }}) end as map,
    case when best.gain is not null then coalesce(firsts.reciprocal, 0e0) end as mrr,
    case when best.gain is not null then coalesce(gains.hits, 0e0) / {{ k }} end as precision_at_k,
    case when best.gain is not null then coalesce(gains.hits, 0e0) / queries.n_relevant end as recall_at_k,
    case when best.gain is not null then least(1e0, coalesce(firsts.hit, 0e0)) end as hit_rate_at_k,
    case
        when queries.n_rows > 1 and queries.n_labelled = queries.n_rows
            then case when queries.n_relevant > 0 then 1e0 else 0e0 end
    end as relevant_query_rate,
    case
        when queries.n_rows > 1 then case when queries.n_labelled = queries.n_rows then 1e0 else 0e0 end
    end as complete_query_rate
from queries
{%- for name in ['best', 'gains', 'firsts'] %}
left join {{ name }}
    on queries.window_key = {{ name }}.window_key
    and queries.model_version = {{ name }}.model_version
    and queries.segment = {{ name }}.segment
    and queries.query_id = {{ name }}.query_id
{%- endfor %}
{%- else %}
select window_key, model_version, 'all' as segment, query_id, 0 as bucket
from {{ ref('stg_inferences') }}
where {{ in_windows() }} and false
{%- endif %}

-- depends_on: {{ ref('stg_inferences') }}, {{ ref('int_labels_current') }}
{# Makes: counts of every distinct score among labelled predictions, running sums over them, and the two areas; an empty table without scores. Compiled: docs/compiled_sql.md #}
{# Ranks cannot be added up, so all versions together are a group of their own, called 'all'. Equal scores share one rank.
   Sorting costs about a second per million rows and segment column: larger windows are left to their 256 score bins, which
   are off by less than their noise. #}
{{ config(materialized='batched_table') }}
{%- set is_binary = task() == 'binary_classification' %}

{%- if is_binary or has_class_scores() %}
with joined as (
    {{ labelled_predictions([finite('inferences.score') ~ ' as score'] if is_binary else named_class_scores('inferences')) }}
),

sized as (
    select *, count(label_class) over (partition by window_key) as n_labelled from joined
),

scores as (
    {%- for name in ([''] if is_binary else score_classes()) %}
    {%- set score = 'score' if is_binary else class_score_names()[loop.index0] %}
    select
        window_key,
        model_version,
        {{ cell_names() }}
        {{ string_literal(name) }} as class_name,
        {{ score }} as score,
        label_class = {{ string_literal(setting('positive') if is_binary else name) }} as is_positive
    from sized
    where n_labelled <= {{ setting('exact_rows', '100000') | int }} and {{ score }} is not null and label_class is not null
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

counted as (
    {{ by_segment('scores', ['class_name', 'score'], [
        as_double(count_where('is_positive')) ~ ' as n_positive',
        as_double(count_where('not is_positive')) ~ ' as n_negative',
    ], has_buckets=false) }}
),

versions as (
    select * from counted where model_version <> 'all'
    union all
    select window_key, 'all' as model_version, segment, class_name, score, sum(n_positive) as n_positive, sum(n_negative) as n_negative
    from counted
    group by window_key, segment, class_name, score
),

ranked as (
    select
        *,
        sum(n_positive) over (rising rows between unbounded preceding and current row) as positives_up_to,
        sum(n_negative) over (rising rows between unbounded preceding and current row) as negatives_up_to,
        sum(n_positive) over (partition by window_key, model_version, segment, class_name) as positives,
        sum(n_negative) over (partition by window_key, model_version, segment, class_name) as negatives
    from versions
    window rising as (partition by window_key, model_version, segment, class_name order by score)
),

caught as (
    select
        *,
        positives - positives_up_to + n_positive as positives_from,
        negatives - negatives_up_to + n_negative as negatives_from
    from ranked
)

select
    window_key,
    model_version,
    segment,
    class_name,
    sum(n_positive) as n_positive,
    sum(n_negative) as n_negative,
    sum(n_positive * (2e0 * negatives_up_to - n_negative)) / nullif(2e0 * sum(n_positive) * sum(n_negative), 0e0) as roc_auc,
    sum(n_positive * (positives_from / (positives_from + negatives_from))) / nullif(sum(n_positive), 0e0) as average_precision
from caught
group by window_key, model_version, segment, class_name
{%- else %}
select window_key, model_version, 'all' as segment, '' as class_name, 0 as n_positive, 0 as n_negative, 0e0 as roc_auc, 0e0 as average_precision
from {{ ref('stg_inferences') }}
where {{ in_windows() }} and false
{%- endif %}

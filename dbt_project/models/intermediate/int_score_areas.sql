-- depends_on: {{ ref('stg_inferences') }}, {{ ref('int_labels_current') }}, {{ ref('int_outcomes_counted') }}
{# Makes: counts of every distinct score among labelled predictions, running sums over them, and the two areas; an empty table without scores. Compiled: docs/compiled_sql.md #}
{# Ranks cannot be added up, so all versions together (without shadows) are a group of their own, called 'all'; where a window
   has one version only, it is that one's. Equal scores share one rank. Sorting costs about a second per million rows and
   segment column: larger windows are left to their 256 score bins, which are off by less than their noise. #}
{{ config(materialized='batched_table', small_windows_only=true) }}
{%- set is_binary = task() == 'binary_classification' %}

{%- if is_binary or has_class_scores() %}
with joined as (
    {{ labelled_predictions([finite('inferences.score') ~ ' as score'] if is_binary else named_class_scores('inferences')) }}
),

small as (
    select window_key from joined group by window_key having count(label_class) <= {{ exact_rows() }}
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
    from joined
    where window_key in (select window_key from small) and {{ score }} is not null and label_class is not null
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

counted as (
    {{ by_segment('scores', ['class_name', 'score'], [
        as_double(count_where('is_positive')) ~ ' as n_positive',
        as_double(count_where('not is_positive')) ~ ' as n_negative',
    ], has_buckets=false) }}
),

production as (
    select window_key, min(model_version) as only_version
    from counted
    where {{ is_production() }}
    group by window_key
    having min(model_version) = max(model_version) and min(model_version) <> 'all'
),

versions as (
    select * from counted where model_version <> 'all'
    union all
    select window_key, 'all' as model_version, segment, class_name, score, sum(n_positive) as n_positive, sum(n_negative) as n_negative
    from counted
    where {{ is_production() }} and window_key not in (select window_key from production)
    group by window_key, segment, class_name, score
),

caught as (
    select
        *,
        sum(n_positive) over falling as positives_from,
        sum(n_negative) over falling as negatives_from
    from versions
    window falling as (partition by window_key, model_version, segment, class_name order by score desc rows between unbounded preceding and current row)
),

summed as (
    select
        window_key,
        model_version,
        segment,
        class_name,
        sum(n_positive) as n_positive,
        sum(n_negative) as n_negative,
        sum(n_positive * (2e0 * negatives_from - n_negative)) as twice_negatives_above,
        sum(n_positive * (positives_from / (positives_from + negatives_from))) as sum_precision
    from caught
    group by window_key, model_version, segment, class_name
),

areas as (
    select
        window_key,
        model_version,
        segment,
        class_name,
        n_positive,
        n_negative,
        (2e0 * n_positive * n_negative - twice_negatives_above) / nullif(2e0 * n_positive * n_negative, 0e0) as roc_auc,
        sum_precision / nullif(n_positive, 0e0) as average_precision
    from summed
)

select * from areas
union all
select areas.window_key, 'all' as model_version, areas.segment, areas.class_name, areas.n_positive, areas.n_negative, areas.roc_auc, areas.average_precision
from areas
inner join production on areas.window_key = production.window_key and areas.model_version = production.only_version
{%- else %}
select window_key, model_version, 'all' as segment, '' as class_name, 0 as n_positive, 0 as n_negative, 0e0 as roc_auc, 0e0 as average_precision
from {{ ref('stg_inferences') }}
where {{ in_windows() }} and false
{%- endif %}

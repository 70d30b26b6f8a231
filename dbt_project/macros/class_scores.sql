{# Are estimates made of so many classes? Every pair of a decision and a class has up to 256 rows (`MOST_CLASSES` in
   sightline/spec/flows.py). #}
{% macro estimates_classes() %}{{ return(has_class_scores() and (score_classes() | length) <= 30) }}{% endmacro %}

{# Rows of `relation` that have a probability of every class, once per class; `items`: more select items of a class. #}
{% macro by_class(relation, items) %}
  {%- for name in score_classes() %}
    select
        window_key,
        model_version,
        {{ cell_names() }}
        predicted_class,
        {{ string_literal(name) }} as class_name,
        {%- for item in items %}
        {{ item | replace('{class}', string_literal(name)) }},
        {%- endfor %}
        {{ score_bin(class_score_names()[loop.index0], 256) }} as score_bin,
        {{ class_score_names()[loop.index0] }} as score
    from {{ relation }}
    where {{ class_score_names() | join(' + ') }} is not null
    {% if not loop.last %}union all{% endif %}
  {%- endfor %}
{% endmacro %}

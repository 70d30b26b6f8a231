{#
  The engine's words in Spark SQL: twins of the macros in engine.sql, literals.sql, runs.sql and windows.sql.

  A Spark session serves one run (sightline/engines/spark/session.py): its catalogue starts with schemas `raw` and `control`
  and ends with the run. Marts are therefore plain tables of the run's windows, which the warehouse loads afterwards. The
  session is not ANSI: what fails on a row gives null there.
#}

{% macro spark__quoted(name) %}{{ return('`' ~ (name | string | replace('`', '``')) ~ '`') }}{% endmacro %}

{# Backslashes escape in Spark, and two quotes in a row end one text and begin the next. #}
{% macro spark__string_literal(text) %}
  {{ return("'" ~ (text | string | replace('\\', '\\\\') | replace("'", "\\'")) ~ "'") }}
{% endmacro %}
{% macro spark__string_list(values) %}
  {{ return("'" ~ (values | map('string') | map('replace', '\\', '\\\\') | map('replace', "'", "\\'") | join("', '")) ~ "'" if values else '') }}
{% endmacro %}

{% macro spark__rows_as_json(relation) %}
  {{ return("select to_json(struct(*), map('ignoreNullFields', 'false')) as row_json from " ~ relation ~ ' order by row_order') }}
{% endmacro %}

{# The catalogue holds nothing of another run. #}
{% macro spark__mark_relation(relation, token) %}{{ return('') }}{% endmacro %}
{% macro spark__relation_mark(relation) %}{{ return(setting('run_token') if load_relation(relation) else '') }}{% endmacro %}

{% macro spark__tried(x) %}{{ return(x) }}{% endmacro %}

{# NaN is the largest number in Spark. #}
{% macro spark__finite(x) %}{{ return("case when abs(" ~ x ~ ") < cast('infinity' as double) then " ~ x ~ " end") }}{% endmacro %}

{% macro spark__numeric_reading(column) %}
  {%- set name = quoted(column['lake_column']) -%}
  {%- if column['kind'] == 'text' -%}{{ return('cast(length(' ~ name ~ ') as double)') }}
  {%- elif column['kind'] == 'embedding' -%}
    {%- set squares = 'transform(filter(' ~ name ~ ', x -> x is not null), x -> cast(x as double) * cast(x as double))' -%}
    {{ return('case when size(' ~ squares ~ ') > 0 then sqrt(aggregate(' ~ squares ~ ', cast(0 as double), (total, x) -> total + x)) end') }}
  {%- else -%}{{ return(name) }}{%- endif -%}
{% endmacro %}

{% macro spark__hour_of_week(moment) %}{{ return("date_format(" ~ moment ~ ", 'EEE HH')") }}{% endmacro %}

{% macro spark__cut_counts(x, cuts) %}{{ return(cumulative_counts(x, cuts)) }}{% endmacro %}
{% macro spark__map_of(keys, values) %}
  {{ return('map_from_arrays(array(' ~ keys | join(', ') ~ '), array(' ~ values | join(', ') ~ '))') }}
{% endmacro %}
{% macro spark__explode_counts(counts) %}{{ return('explode(' ~ counts ~ ') as (cut, n)') }}{% endmacro %}

{% macro spark__short_key(text) %}{{ return('xxhash64(' ~ text ~ ')') }}{% endmacro %}

{# The leading 24 bits of each value and the rest, summed apart: sums of the leading bits are exact for values of like size. #}
{% macro spark__steady_sum(x) %}
  {%- set leading = 'case when abs(' ~ x ~ ') < 1e38 then cast(cast(' ~ x ~ ' as float) as double) else ' ~ x ~ ' end' -%}
  {{ return('(sum(' ~ leading ~ ') + sum(' ~ x ~ ' - ' ~ leading ~ '))') }}
{% endmacro %}

{% macro spark__seconds_between(start, end) %}
  {{ return('((unix_micros(cast(' ~ end ~ ' as timestamp)) - unix_micros(cast(' ~ start ~ ' as timestamp))) / 1e6)') }}
{% endmacro %}

{# Stirling's series at x + 8 (six terms: 1e-15 from there on), taken back by the product of the eight steps. For x >= 1. #}
{% macro spark__log_gamma(x) %}
  {%- set steps, z = [], '(' ~ x ~ ' + 8e0)' -%}
  {%- for i in range(8) -%}{%- do steps.append('(' ~ x ~ ' + ' ~ i ~ 'e0)') -%}{%- endfor -%}
  {{ return('((' ~ z ~ ' - 0.5e0) * ln(' ~ z ~ ') - ' ~ z ~ ' + 0.5e0 * ln(2e0 * pi()) + (1e0 / 12e0 - (1e0 / 360e0 - (1e0 / 1260e0 - (1e0 / 1680e0 - (1e0 / 1188e0 - 691e0 / 360360e0 / ('
    ~ z ~ ' * ' ~ z ~ ')) / (' ~ z ~ ' * ' ~ z ~ ')) / (' ~ z ~ ' * ' ~ z ~ ')) / (' ~ z ~ ' * ' ~ z ~ ')) / (' ~ z ~ ' * ' ~ z ~ ')) / ' ~ z
    ~ ' - ln(' ~ steps | join(' * ') ~ '))') }}
{% endmacro %}

{% materialization incremental, adapter='spark' %}{{ return(spark_table_of_this_run()) }}{% endmaterialization %}
{% materialization batched_table, adapter='spark' %}{{ return(spark_table_of_this_run()) }}{% endmaterialization %}
{% materialization table, adapter='spark' %}{{ return(spark_table_of_this_run()) }}{% endmaterialization %}

{% macro spark_table_of_this_run() %}
  {% set target_relation = this.incorporate(type='table') %}
  {{ run_hooks(pre_hooks) }}
  {% call statement('main') %}create table {{ target_relation }} using parquet as {{ sql }}{% endcall %}
  {{ return({'relations': [target_relation]}) }}
{% endmacro %}

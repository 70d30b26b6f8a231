{#
  Every word of SQL that differs between engines. Models call these names only; Spark's twins (`spark__`) are in spark.sql.
  `default__` is standard SQL.
#}

{# The lake's rows as they are. #}
{% macro raw_scan(relation) %}{{ return(adapter.dispatch('raw_scan')(relation)) }}{% endmacro %}
{% macro default__raw_scan(relation) %}select * from {{ relation }}{% endmacro %}

{# One JSON text per row of a control table. #}
{% macro rows_as_json(relation) %}{{ return(adapter.dispatch('rows_as_json')(relation)) }}{% endmacro %}
{% macro duckdb__rows_as_json(relation) %}
  {{ return('select cast(to_json(control_row) as varchar) as row_json from ' ~ relation ~ ' as control_row order by rowid') }}
{% endmacro %}

{# Of a CTE that is used more than once: read it each time, which costs less than to keep its rows. #}
{% macro read_anew() %}{{ return(adapter.dispatch('read_anew')()) }}{% endmacro %}
{% macro default__read_anew() %}{{ return('') }}{% endmacro %}
{% macro duckdb__read_anew() %}{{ return('not materialized') }}{% endmacro %}

{# Remembers which run built a table; reads it back ('' if unknown). #}
{% macro mark_relation(relation, token) %}{{ return(adapter.dispatch('mark_relation')(relation, token)) }}{% endmacro %}
{% macro duckdb__mark_relation(relation, token) %}
  {{ return('comment on table ' ~ relation ~ ' is ' ~ string_literal(token)) }}
{% endmacro %}
{% macro relation_mark(relation) %}{{ return(adapter.dispatch('relation_mark')(relation)) }}{% endmacro %}
{% macro duckdb__relation_mark(relation) %}
  {% set found = run_query("select comment from duckdb_tables() where database_name = " ~ string_literal(relation.database)
    ~ " and schema_name = " ~ string_literal(relation.schema) ~ " and table_name = " ~ string_literal(relation.identifier)) %}
  {{ return((found[0][0] if found | length else '') or '') }}
{% endmacro %}

{# The value of an expression, null for the rows it fails on. #}
{% macro tried(x) %}{{ return(adapter.dispatch('tried')(x)) }}{% endmacro %}
{% macro duckdb__tried(x) %}{{ return('try(' ~ x ~ ')') }}{% endmacro %}

{# x if it is a finite number, else null. #}
{% macro finite(x) %}{{ return(adapter.dispatch('finite')(x)) }}{% endmacro %}
{% macro duckdb__finite(x) %}{{ return('case when isfinite(' ~ x ~ ') then ' ~ x ~ ' end') }}{% endmacro %}

{# The number a column is judged by, per kind: itself, the length of a text in characters, the Euclidean norm of an embedding. #}
{% macro numeric_reading(column) %}{{ return(adapter.dispatch('numeric_reading')(column)) }}{% endmacro %}
{% macro duckdb__numeric_reading(column) %}
  {%- set name = quoted(column['lake_column']) -%}
  {%- if column['kind'] == 'text' -%}{{ return('cast(length(' ~ name ~ ') as double)') }}
  {%- elif column['kind'] == 'embedding' -%}
    {{ return('sqrt(list_sum(list_transform(' ~ name ~ ', lambda x: cast(x as double) * cast(x as double))))') }}
  {%- else -%}{{ return(name) }}{%- endif -%}
{% endmacro %}

{# The category a column is judged by: a boolean is 'true' or 'false', a datetime its hour of the week ('Mon 00'). #}
{% macro category_reading(column) %}
  {%- set name = quoted(column['lake_column']) -%}
  {%- if column['kind'] == 'boolean' -%}
    {{ return("case when " ~ name ~ " then 'true' when not " ~ name ~ " then 'false' end") }}
  {%- elif column['kind'] == 'datetime' -%}{{ return(hour_of_week(name)) }}
  {%- else -%}{{ return(name) }}{%- endif -%}
{% endmacro %}
{% macro hour_of_week(moment) %}{{ return(adapter.dispatch('hour_of_week')(moment)) }}{% endmacro %}
{% macro duckdb__hour_of_week(moment) %}{{ return("strftime(" ~ moment ~ ", '%a %H')") }}{% endmacro %}

{# Aggregate: how many x lie in each interval (previous cut, cut], and above the last one; see explode_counts. #}
{% macro cut_counts(x, cuts) %}{{ return(adapter.dispatch('cut_counts')(x, cuts)) }}{% endmacro %}
{% macro duckdb__cut_counts(x, cuts) %}
  {# Measured: one count per cut is faster up to about ten cuts, a binary search per row beyond. #}
  {% if cuts | length <= 10 %}{{ return(cumulative_counts(x, cuts)) }}{% endif %}
  {% set literals = [] %}
  {% for cut in cuts %}{% do literals.append(double_literal(cut)) %}{% endfor %}
  {% set rank, ranks = integer_rank(x, cuts) %}
  {% if not rank %}{{ return('histogram(' ~ x ~ ', [' ~ literals | join(', ') ~ ']::double[])') }}{% endif %}
  {% set counts = 'map_values(histogram(' ~ rank ~ ', [' ~ ranks | join(', ') ~ ']::bigint[]))' %}
  {{ return('case when count(' ~ x ~ ') > 0 then map(list_slice([' ~ literals | join(', ') ~ ", cast('infinity' as double)], 1, len(" ~ counts ~ ')), '
    ~ counts ~ ') end') }}
{% endmacro %}

{#
  An integer that never falls as x grows and is larger than that of a cut just if x is larger than the cut, and those of the
  cuts; none if there is no cheap one. Among integers a search takes half the time that it takes among doubles, and it is exact:
  x * 2^bits, rounded up, tells x from every cut that is a whole number times 2^-bits; the few finer cuts are compared.
#}
{% macro integer_rank(x, cuts) %}
  {% set ratios = [] %}
  {% for cut in cuts %}{% do ratios.append((cut | float).as_integer_ratio()) %}{% endfor %}
  {% set largest = ((cuts | map('float') | map('abs') | max)).as_integer_ratio() %}
  {% set bits = 59 - largest[0].bit_length() + largest[1].bit_length() %}
  {% set fine = [] %}
  {% for ratio in ratios if ratio[1].bit_length() - 1 > bits %}{% do fine.append(ratio[0] / ratio[1]) %}{% endfor %}
  {% if bits < 0 or bits > 1000 or fine | length > 6 %}{{ return(('', [])) }}{% endif %}
  {% set bound, terms, ranks = double_literal(2.0 ** (60 - bits)), [], [] %}
  {% do terms.append('cast(ceil(case when ' ~ x ~ ' > ' ~ bound ~ ' then ' ~ bound ~ ' when ' ~ x ~ ' < -' ~ bound ~ ' then -' ~ bound ~ ' else ' ~ x
    ~ ' end * ' ~ double_literal(2.0 ** bits) ~ ') as bigint)') %}
  {% for cut in fine %}{% do terms.append('cast(' ~ x ~ ' > ' ~ double_literal(cut) ~ ' as bigint)') %}{% endfor %}
  {% for ratio in ratios %}
    {% set finer = fine | select('lt', ratio[0] / ratio[1]) | list | length %}
    {% do ranks.append(-(-ratio[0] * 2 ** bits // ratio[1]) + finer) %}
  {% endfor %}
  {{ return((terms | join(' + '), ranks)) }}
{% endmacro %}

{% macro cumulative_counts(x, cuts) %}
  {% set keys, counts, below = [], [], ['0'] %}
  {% for cut in cuts %}
    {% set up_to = count_where(x ~ ' <= ' ~ double_literal(cut)) %}
    {% do keys.append(double_literal(cut)) %}
    {% do counts.append(up_to ~ ' - ' ~ below[-1]) %}
    {% do below.append(up_to) %}
  {% endfor %}
  {% do keys.append("cast('infinity' as double)") %}
  {% do counts.append('count(' ~ x ~ ') - ' ~ below[-1]) %}
  {{ return(map_of(keys, counts)) }}
{% endmacro %}

{% macro map_of(keys, values) %}{{ return(adapter.dispatch('map_of')(keys, values)) }}{% endmacro %}
{% macro duckdb__map_of(keys, values) %}{{ return('map([' ~ keys | join(', ') ~ '], [' ~ values | join(', ') ~ '])') }}{% endmacro %}

{# Select items that make one row (cut, n) of each entry of cut_counts; the last cut is infinity. #}
{% macro explode_counts(counts) %}{{ return(adapter.dispatch('explode_counts')(counts)) }}{% endmacro %}
{% macro duckdb__explode_counts(counts) %}
  {{ return('unnest(map_keys(' ~ counts ~ ')) as cut, unnest(map_values(' ~ counts ~ ')) as n') }}
{% endmacro %}

{% macro count_where(condition) %}{{ return(adapter.dispatch('count_where')(condition)) }}{% endmacro %}
{% macro default__count_where(condition) %}{{ return('count_if(' ~ condition ~ ')') }}{% endmacro %}
{# DuckDB: null, not 0, where the condition is unknown in every row. #}
{% macro duckdb__count_where(condition) %}{{ return('coalesce(count_if(' ~ condition ~ '), 0)') }}{% endmacro %}

{# A number that equal texts share and others hardly ever do: cheaper to group by than the text itself, which always works. #}
{% macro short_key(text) %}{{ return(adapter.dispatch('short_key')(text)) }}{% endmacro %}
{% macro default__short_key(text) %}{{ return(text) }}{% endmacro %}
{% macro duckdb__short_key(text) %}{{ return('hash(' ~ text ~ ')') }}{% endmacro %}

{# A sum whose rounding does not grow with the rows: deviations of values that are large beside them come of it. #}
{% macro steady_sum(x) %}{{ return(adapter.dispatch('steady_sum')(x)) }}{% endmacro %}
{% macro default__steady_sum(x) %}{{ return('sum(' ~ x ~ ')') }}{% endmacro %}
{% macro duckdb__steady_sum(x) %}{{ return('fsum(' ~ x ~ ')') }}{% endmacro %}

{#
  The same of x to the power 1 or 2, where x is usually as large as the largest of `cuts`. DuckDB: the leading bits of each value
  (a sum with a constant far larger keeps no others) and the rest, summed apart: the former sum is exact, the latter small. Values
  far larger or smaller than the cuts are summed plainly. Costs less than fsum.
#}
{% macro steady_sum_near(x, power, cuts) %}{{ return(adapter.dispatch('steady_sum_near')(x, power, cuts)) }}{% endmacro %}
{% macro default__steady_sum_near(x, power, cuts) %}{{ return(steady_sum(([x] * power) | join(' * '))) }}{% endmacro %}
{% macro duckdb__steady_sum_near(x, power, cuts) %}
  {% set value, largest = ([x] * power) | join(' * '), (cuts or [0]) | map('float') | map('abs') | max %}
  {% set ratio = largest.as_integer_ratio() %}
  {% set exponent = ratio[0].bit_length() - ratio[1].bit_length() + 1 %}
  {% if largest == 0 or exponent < -400 or exponent > 400 %}{{ return(steady_sum(value)) }}{% endif %}
  {% set far = double_literal(1.5 * 2.0 ** (30 + power * exponent)) %}
  {% set leading = '((' ~ value ~ ' + ' ~ far ~ ') - ' ~ far ~ ')' %}
  {{ return('(sum(' ~ leading ~ ') + sum(' ~ value ~ ' - ' ~ leading ~ '))') }}
{% endmacro %}

{# Values compared one after the other. #}
{% macro in_turn(values) %}{{ return(adapter.dispatch('in_turn')(values)) }}{% endmacro %}
{% macro default__in_turn(values) %}{{ return('struct(' ~ values | join(', ') ~ ')') }}{% endmacro %}
{% macro duckdb__in_turn(values) %}{{ return('row(' ~ values | join(', ') ~ ')') }}{% endmacro %}

{# Seconds from one timestamp to another. #}
{% macro seconds_between(start, end) %}{{ return(adapter.dispatch('seconds_between')(start, end)) }}{% endmacro %}
{% macro duckdb__seconds_between(start, end) %}
  {{ return('((epoch_us(' ~ end ~ ') - epoch_us(' ~ start ~ ')) / 1e6)') }}
{% endmacro %}

{% macro as_text(x) %}{{ return('cast(' ~ x ~ ' as ' ~ dbt.type_string() ~ ')') }}{% endmacro %}
{% macro as_double(x) %}{{ return('cast(' ~ x ~ ' as double)') }}{% endmacro %}
{% macro as_int(x) %}{{ return('cast(' ~ x ~ ' as integer)') }}{% endmacro %}
{% macro as_bigint(x) %}{{ return('cast(' ~ x ~ ' as bigint)') }}{% endmacro %}

{# Item i = 0, 1, ... of a list of literals. #}
{% macro list_item(items, i) %}{{ return(adapter.dispatch('list_item')(items, i)) }}{% endmacro %}
{% macro default__list_item(items, i) %}{{ return('element_at(array(' ~ items | join(', ') ~ '), ' ~ as_int(i ~ ' + 1') ~ ')') }}{% endmacro %}
{% macro duckdb__list_item(items, i) %}{{ return('[' ~ items | join(', ') ~ '][' ~ as_int(i ~ ' + 1') ~ ']') }}{% endmacro %}

{# Logarithm of the gamma function. #}
{% macro log_gamma(x) %}{{ return(adapter.dispatch('log_gamma')(x)) }}{% endmacro %}
{% macro default__log_gamma(x) %}{{ return('lgamma(' ~ x ~ ')') }}{% endmacro %}

{#
  Intermediate tables hold the windows of one run. Each is marked with the token of the run that built it, and a mart refuses
  to read one of another run: selecting a mart without its upstream would otherwise empty its windows.
#}
{% macro mark_run() %}
  {%- if execute and model.config.materialized != 'ephemeral' -%}{{ mark_relation(this, setting('run_token')) }}{%- endif -%}
{% endmacro %}

{% macro of_this_run(relation) %}
  {% if execute and flags.WHICH in ('build', 'run') and model.resource_type == 'model' %}
    {% set built_by, this_run = relation_mark(relation), setting('run_token') %}
    {% if built_by != this_run %}
      {% do exceptions.raise_compiler_error(relation.identifier ~ " was built by another run (" ~ (built_by or 'unknown')
        ~ ", this is " ~ this_run ~ "): select it too, e.g. --select +" ~ this.identifier) %}
    {% endif %}
  {% endif %}
  {{ return(relation) }}
{% endmacro %}

{# Windows whose labelled predictions are few enough that their scores are ranked exactly. #}
{% macro exact_rows() %}{{ return(setting('exact_rows', '100000') | int) }}{% endmacro %}

{# Windows of this run but those that have more labelled predictions, as int_outcomes_counted says. #}
{% macro small_windows() %}
  {% set large = [] %}
  {% for row in run_query("select window_key from " ~ of_this_run(ref('int_outcomes_counted'))
      ~ " where segment = 'all' and not is_delay and label_class is not null group by window_key having sum(n) > " ~ exact_rows()) %}
    {% do large.append(row[0]) %}
  {% endfor %}
  {{ return(control_windows() | rejectattr('window_key', 'in', large) | list) }}
{% endmacro %}

{# Windows in batches of at most `max_rows` predictions, so that joins fit into memory. #}
{% macro window_batches(windows, max_rows=1000000) %}
  {% set counts = {} %}
  {% if windows %}
    {% for row in run_query('select window_key, count(*) as n from ' ~ ref('stg_inferences') ~ ' where ' ~ in_windows() ~ ' group by window_key') %}
      {% do counts.update({row[0]: row[1] | int}) %}
    {% endfor %}
  {% endif %}
  {% set batches, state = [], namespace(batch=[], n=0) %}
  {% for window in windows %}
    {% set n = counts.get(window.window_key, 0) %}
    {% if n %}
      {% if state.batch and state.n + n > max_rows %}
        {% do batches.append(state.batch) %}{% set state.batch = [] %}{% set state.n = 0 %}
      {% endif %}
      {% do state.batch.append(window) %}{% set state.n = state.n + n %}
    {% endif %}
  {% endfor %}
  {% if state.batch %}{% do batches.append(state.batch) %}{% endif %}
  {{ return(batches) }}
{% endmacro %}

{#
  A table of the run's windows, filled batch by batch in one transaction. The model filters by in_windows(); any engine
  can also build it in one statement. `small_windows_only`: the model leaves out larger windows, which are not read then.
#}
{% materialization batched_table, default %}
  {% set target_relation = this.incorporate(type='table') %}
  {% set existing_relation = load_cached_relation(this) %}
  {% set batches = window_batches(small_windows() if config.get('small_windows_only') else control_windows()) %}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {% if existing_relation %}{% do adapter.drop_relation(existing_relation) %}{% endif %}
  {% call statement('main') %}
    {{ create_table_as(False, target_relation, sql.replace(in_windows(), in_windows(windows=batches[0] if batches else []))) }}
  {% endcall %}
  {% for batch in batches[1:] %}
    {% call statement('batch_' ~ loop.index) %}
      insert into {{ target_relation }} {{ sql.replace(in_windows(), in_windows(windows=batch)) }}
    {% endcall %}
  {% endfor %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{# Makes: one aggregation of the quarantined label rows by window (macro rejections_of). #}
{{ rejections_of("'labels'", "kind = 'labels'") }}

{# Makes: one aggregation of the other quarantined rows by window (macro rejections_of). #}
{{ rejections_of("'inferences'", "kind <> 'labels'") }}

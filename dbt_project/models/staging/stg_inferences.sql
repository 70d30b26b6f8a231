{{ raw_scan(source('raw', 'inferences')) }}

{{ raw_scan(source('raw', 'current_labels')) }}

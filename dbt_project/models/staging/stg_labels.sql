{{ raw_scan(source('raw', 'labels')) }}

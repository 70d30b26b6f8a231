{{ raw_scan(source('raw', 'quarantine')) }}

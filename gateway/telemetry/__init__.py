"""Every metric in one catalogue, and counters, exporter, traces and logs. Never holds a content; decides nothing."""

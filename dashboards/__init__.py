"""Grafana dashboards as code: what each shows, in English and Chinese, and the JSON made of it; serves nobody at run time."""

"""The dashboards, one a file; each is plain data."""

"""Starts and guards one engine; knows no keys and no users."""

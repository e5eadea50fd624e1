"""Measures an engine's flags on a machine with a GPU: starts engine, ledger and gateway, asks, watches, compares."""

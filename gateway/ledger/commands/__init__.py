"""The commands of `python -m gateway.ledger`. The edge: reads settings, prints, ends with exit codes."""

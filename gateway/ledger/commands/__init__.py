"""The commands of `vitrine ledger`. The edge: reads settings, prints, ends with exit codes."""

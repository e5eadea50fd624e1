"""Tests of the ledger: its tree, its files, its process, its commands."""

"""The ledger's process: decides on limits, writes records, answers clients, recovers after a crash."""

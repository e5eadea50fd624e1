"""What a process says to the ledger and how: messages, calls with deadlines. Never opens the log."""

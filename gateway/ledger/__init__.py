"""What is remembered: an append-only, signed, provable record of every use. Imports nothing else of the gateway."""

"""Reading a log: pages, search, verification, proofs, exports. Never appends to it."""

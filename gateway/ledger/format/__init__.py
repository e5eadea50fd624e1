"""What the log is made of: records, digests, the Merkle tree, signed notes and heads, proofs. Pure: opens no file."""

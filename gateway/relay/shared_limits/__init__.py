"""Limits that several hosts share, in Redis or Valkey; off unless an address is set. Sends digests of ids and counts."""

"""Limits that several hosts share, in Redis or Valkey; off unless an address is set. Sends digests of ids and counts."""

from gateway.shared_limits.client import SharedLimits, Verdict
from gateway.shared_limits.place import BadURL, Place

__all__ = ["BadURL", "Place", "SharedLimits", "Verdict"]

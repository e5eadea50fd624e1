"""UUIDv7: identifiers that sort by the time they were made (RFC 9562, section 5.7)."""

import os
import time
import uuid


def uuid7() -> str:
    """A new UUIDv7 in its canonical text form."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))

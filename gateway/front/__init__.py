"""Connections of clients: bytes in and out, bodies, who left, whose address, the end. Never reads what a request means."""

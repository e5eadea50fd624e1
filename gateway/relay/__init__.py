"""One exchange: its stages, the engine's answer, its record and its limits. Never authenticates, never parses a request."""

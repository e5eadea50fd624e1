"""Stands in for vLLM where a test wants an engine that misbehaves: the modules that serve/launcher.py imports, no others."""

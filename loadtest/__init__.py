"""Measures from outside, over HTTP."""

"""Tests that kill, starve and corrupt: what must survive, and what must be noticed."""

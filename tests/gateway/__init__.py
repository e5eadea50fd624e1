"""Tests of the gateway, room by room."""

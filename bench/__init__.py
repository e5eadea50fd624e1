"""Measures the gateway and its parts, from the repository alone; serves nothing, and is in no package that is installed.

``python -m bench`` the gateway, ``bench.ledger`` the ledger, ``bench.affinity`` routing policies on two real engines,
``bench.simulation`` the same for up to 1,000 GPUs. The only room that may import others.
"""

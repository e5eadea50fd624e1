"""Real programs against the real stack: each as its users have it, from a lock of its own."""

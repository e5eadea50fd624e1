"""What ends a load test before it has a figure; the command line turns each into an exit status."""


class LoadTestError(Exception):
    """Nothing was measured: the text says why and what to do (exit 1)."""


class WrongUsage(LoadTestError):
    """The scenario or the command line asks for what cannot be (exit 64)."""

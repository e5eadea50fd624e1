"""How many examples a property is tried with."""

from hypothesis import settings


def examples(most: int) -> int:
    """``most``, or what the profile of ``make quick`` takes, if that is fewer."""
    now = settings().max_examples
    return min(most, now) if now < settings.get_profile("house").max_examples else most

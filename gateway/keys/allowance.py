"""How much a key or a tenant may use, as its administrator set it: plain data and its merge with the defaults; never counts."""

from dataclasses import dataclass, fields
from functools import cached_property

UNLIMITED = -1  # said on purpose, where the default has a limit


@dataclass(frozen=True)
class Allowance:
    """Each bound: a number, UNLIMITED, or None where nothing was said and the default holds."""

    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    tokens_per_day: int | None = None
    concurrent: int | None = None
    images_per_min: int | None = None

    def over(self, default: "Allowance") -> "Allowance":
        """This allowance, and the default's bounds where it says nothing."""
        if self is NOTHING_SAID:
            return default
        mine = {name: getattr(self, name) for name in BOUNDS}
        return Allowance(**{name: getattr(default, name) if value is None else value for name, value in mine.items()})

    @cached_property
    def bounds(self) -> dict[str, int]:
        """The bounds that hold, by name; without the unlimited ones."""
        found = {name: getattr(self, name) for name in BOUNDS}
        return {name: value for name, value in found.items() if value is not None and value != UNLIMITED}


BOUNDS = tuple(field.name for field in fields(Allowance))
NOTHING_SAID = Allowance()

"""Which built-in profile of GLM-4.6V-Flash the cards of a machine can run, and why; looks at no machine itself."""

from collections.abc import Sequence

from serve import profile
from serve.machine import Gpu

AUTO = "auto"
WITHOUT_A_CARD = "miniature"
# The first that fits is taken: the fastest first, then the one without any loss of precision, then the one for small cards.
IN_ORDER = ("glm-4.6v-flash-fp8", "glm-4.6v-flash", "glm-4.6v-flash-24gb")


def choose(cards: Sequence[Gpu]) -> tuple[profile.Profile, str]:
    """The profile for these cards, and one sentence that says why. Profiles need one card; the machine's best one counts."""
    if not cards:
        return profile.load(WITHOUT_A_CARD), "no GPU answers (nvidia-smi), so it is the small demo model on the CPU"
    for name in IN_ORDER:
        found = profile.load(name)
        for card in cards:
            if _fits(found, card):
                return found, f"{_said(card)} is enough for it: it needs {_wanted(found)}"
    least = profile.load(IN_ORDER[-1])
    seen = ", ".join(_said(card) for card in cards)
    return (
        profile.load(WITHOUT_A_CARD),
        f"{seen} is not enough for {least.name}, which needs {_wanted(least)}; so it is the small demo model on the CPU",
    )


def _fits(wanted: profile.Profile, card: Gpu) -> bool:
    needs = wanted.needs
    return card.memory_bytes >= needs.gpu_memory_bytes and card.capability >= needs.compute_capability


def _said(card: Gpu) -> str:
    return f"{card.name} ({card.memory_bytes / 1e9:.1f} GB, compute capability {card.capability})"


def _wanted(found: profile.Profile) -> str:
    return f"{found.needs.gpu_memory_bytes / 1e9:.1f} GB and {found.needs.compute_capability} or newer"

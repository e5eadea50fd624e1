"""Text for questions: common words, most of them one token to any tokenizer; pure."""

import random

WORDS = (  # noqa: SIM905  two hundred quotes would be no help
    "the of and to in is that it was for on are as with they at be this from have or by one had not but what all were when we"
    " there can an your which their said if do will each about how up out them then she many some so these would other into has"
    " more her two like him see time could no make than first been its who now people my made over did down only way find use may"
    " water long little very after words called just where most know get through back much go good new write our me man too any"
    " day same right look think also around another came come work three must because does part even place well such here take"
    " why help put different away again off went old number great tell men say small every found still between name should home"
    " big give air line set own under read last never us left end along while might next sound below saw something thought both"
    " few those always show large often together asked house world going want school important until form food keep children"
).split()


def text(tokens: int, dice: random.Random) -> str:
    """About ``tokens`` tokens, and like no other text: it begins with a number of its own."""
    start = f"{dice.randrange(10**6)}: "
    return start + " ".join(dice.choices(WORDS, k=max(1, tokens - 4))) + "?"

"""Every metric of the gateway's catalogue."""

from docs.generate.language import Language
from docs.generate.markdown import code, table
from gateway.telemetry import catalogue

_HEAD = ("metric", "kind", "labels", "meaning")


def sections(language: Language) -> dict[str, str]:
    """The one table."""
    rows = [
        [code(one.name), one.kind, " ".join(map(code, one.labels)), language.say("metrics", one.help)]
        for one in catalogue.ALL
    ]
    return {"metrics": table([language.say("words", word) for word in _HEAD], rows)}

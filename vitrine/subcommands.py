"""The rooms that ``vitrine`` knows, and their verbs in a line each; imports no room, a test compares the two."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Room:
    """One word of the command. ``module`` has ``main(arguments, program)``, which returns the exit status.

    ``verbs`` is empty for a room that is one command. ``needs`` names the packages of the wheel's ``extra``.
    """

    word: str
    module: str
    about: str
    verbs: dict[str, str] = field(default_factory=dict)
    extra: str = ""
    needs: tuple[str, ...] = ()


# The command's own words, before and after those of the rooms.
OWN_FIRST = {"up": "Start ledger, engine and gateway, until Ctrl-C"}
OWN_LAST = {"version": "Say which version this is"}

ROOMS = (
    Room(
        "serve",
        "serve.__main__",
        "One engine",
        {
            "up": "start an engine and keep it running",
            "check": "say what stands in a profile's way on this machine",
            "profiles": "list the built-in profiles",
            "model prepare": "make a folder of glm-4v-9b that can be served",
        },
    ),
    Room("gateway", "gateway.__main__", "The gateway: serve page and API"),
    Room(
        "keys",
        "gateway.keys.__main__",
        "API keys",
        {
            "create": "make a key and print it, once",
            "list": "list all keys, never the keys themselves",
            "revoke": "end a key now",
            "rotate": "make a new key like an old one",
            "limit": "change or show what a key or a tenant may use",
        },
    ),
    Room(
        "engines",
        "gateway.engines.__main__",
        "The engines that the gateway asks",
        {
            "list": "list all engines, asking each what it serves",
            "add": "add an engine of another host",
            "drain": "send an engine nothing new",
            "undrain": "use an engine again",
            "remove": "forget an engine that was added",
        },
    ),
    Room(
        "ledger",
        "gateway.ledger.__main__",
        "The audit log",
        {
            "init": "make the keys and an empty log",
            "serve": "run the ledger process",
            "verify": "check every record, hash, head and seal",
            "consistency": "prove that one head continues another",
            "anchor": "show the last head, or compare it with a kept one",
            "prove": "prove that a record is in the log",
            "verify-proof": "check such a proof",
            "reveal": "open the digests of one exchange",
            "find": "find exchanges by content, caller, address, time",
            "tail": "show the newest records",
            "export": "write the log in another tool's form",
            "prune": "delete old sealed records; proofs stay",
            "backup": "copy the log and verify the copy",
            "restore": "put a verified backup in place of a lost log",
            "epochs": "list the epochs whose digests can be opened",
            "shred": "delete an epoch's secret for good",
        },
    ),
    Room(
        "loadtest",
        "loadtest.__main__",
        "Measure a server from outside",
        {
            "run": "ask, measure, report",
            "ceiling": "measure what the load generator itself can do",
            "scenarios": "list the built-in scenarios",
        },
        extra="loadtest",
        needs=("aiohttp", "matplotlib", "numpy", "openai", "rich"),
    ),
)

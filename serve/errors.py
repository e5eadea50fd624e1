"""Errors of this room, each with a sentence that says the way out; never prints or exits.

ServeError (exit 1)
├── NeverServed (exit 3)       the engine ended before it answered once
└── BadSettings (exit 78)      a profile, a setting or an argument that cannot be used
"""


class ServeError(Exception):
    """Something about the machine, the model or the engine; the text is one sentence with the way out."""

    exit_code = 1


class NeverServed(ServeError):
    exit_code = 3


class BadSettings(ServeError):
    exit_code = 78

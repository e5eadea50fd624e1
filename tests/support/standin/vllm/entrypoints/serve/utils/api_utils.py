"""What vLLM does to its environment before it parses: nothing here."""


def cli_env_setup() -> None:
    pass

"""The flags that the supervisor itself sets, and one that a profile may; any other is an error, as with vLLM."""

from argparse import ArgumentParser, BooleanOptionalAction


def make_arg_parser(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("model_tag")
    parser.add_argument("--uds")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--shutdown-timeout", type=int)
    parser.add_argument("--enable-log-requests", action=BooleanOptionalAction)
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    parser.add_argument("--max-model-len", type=int, default=1024)
    return parser

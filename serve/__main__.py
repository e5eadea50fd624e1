"""``vitrine serve``: the commands of this room; only parses, prints and sets the exit status."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from serve import chatglm, checks, choice, machine, profile, settings
from serve.errors import ServeError
from serve.supervisor import Supervisor

WRONG_USAGE = 64

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="Start and guard one engine.")
model_app = typer.Typer(help="Make model folders ready to be served.")
app.add_typer(model_app, name="model")

ProfileOption = Annotated[str | None, typer.Argument(help="A built-in profile's name, auto, or a .toml file.")]
ModelOption = Annotated[Path | None, typer.Option(help="Model folder, instead of the profile's.")]
EngineOption = Annotated[int | None, typer.Option(help="Which engine of this host (0, 1, ...).")]


@app.command()
def up(name: ProfileOption = None, model: ModelOption = None, engine: EngineOption = None) -> None:
    """Start an engine and keep it running until SIGTERM or Ctrl-C."""
    chosen = settings.read(profile=name, model=model, number=engine)
    plan = _plan(chosen)
    for finding in checks.findings(plan, chosen.socket):
        if finding.fault:
            raise ServeError(finding.fault)
    label = f"engine-{chosen.number} | "
    asyncio.run(Supervisor(_for_this_machine(plan), chosen, lambda line: print(label + line, flush=True)).run())


@app.command()
def check(name: ProfileOption = None, model: ModelOption = None, engine: EngineOption = None) -> None:
    """Say what stands in the way of a profile on this machine, before anything loads."""
    chosen = settings.read(profile=name, model=model, number=engine)
    plan = _plan(chosen)
    print(f"{plan.name}: {plan.description}")
    faults = 0
    for finding in checks.findings(plan, chosen.socket):
        faults += bool(finding.fault)
        print(f"  {'no' if finding.fault else 'ok'}  {finding.what:<7} {finding.seen}")
        if finding.fault:
            print(f"              {finding.fault}")
    print(f"{faults} in the way" if faults else "ready to start")
    raise typer.Exit(1 if faults else 0)


@app.command()
def profiles() -> None:
    """List the built-in profiles."""
    for name in profile.names():
        print(f"{name:<22} {profile.load(name).description}")


@model_app.command()
def prepare(
    source: Annotated[Path, typer.Argument(help="The published folder of glm-4v-9b.")],
    target: Annotated[Path, typer.Argument(help="The folder to make; it must not exist.")],
) -> None:
    """Make a folder that can be served from one whose tokenizer is published as code (glm-4v-9b)."""
    try:
        made = chatglm.prepare(source, target)
    except chatglm.PrepareError as error:
        raise ServeError(str(error)) from None
    except OSError as error:
        raise ServeError(
            f"{error.filename or target}: {error.strerror}; free some space or choose another target"
        ) from None
    links = "hard links" if made.hard_links else "symbolic links: a container must see both folders"
    print(f"{target}: {made.base_tokens:,} tokens converted, {made.weight_files} weight files ({links})")
    print(f"next: make serve PROFILE=glm-4v-9b MODEL={target}")


def _plan(chosen: settings.EngineSettings) -> profile.Profile:
    if chosen.profile == choice.AUTO:
        plan, why = choice.choose(machine.gpus())
        print(f"{plan.name}: chosen, since {why}", flush=True)
    else:
        plan = profile.load(chosen.profile)
    return plan.with_model(chosen.model.absolute()) if chosen.model else plan


def _for_this_machine(plan: profile.Profile) -> profile.Profile:
    cards = machine.gpus() if plan.device == "gpu" else []
    return plan.on(min((card.capability for card in cards), default=0.0))


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run the command line; the exit status as in docs/reference/exit-codes.md. ``program`` is what usage lines call it."""
    try:
        status = app(args=arguments, prog_name=program, standalone_mode=False)
    except ServeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except typer.Abort:
        return 1
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = f"{context.command_path} --help" if context else "--help"
        print(f"error: {error.format_message()} (see {command})", file=sys.stderr)
        return WRONG_USAGE
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())

"""The command ``skep``. Everything else is imported when a command needs it: start-up is quick."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from skep.cli import ask, catalogue, logs, plan, pool, run, schema, simulate, top, trace
from skep.errors import InputError, SkepError

INTERRUPTED = 130  # as shells have it: 128 + SIGINT

app = typer.Typer(
    name="skep",
    help="Many data centres, one computer: one pool, one queue and one job over all of them.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    run.run,
    run.submit,
    run.report,
    ask.ps,
    ask.show,
    ask.why,
    logs.logs,
    ask.cancel,
    pool.up,
    pool.down,
    ask.sites,
    top.top,
    simulate.simulate,
    plan.plan,
    catalogue.chips,
    catalogue.systems,
    schema.schema,
)
CLASSES: dict[object, type[TyperCommand]] = {simulate.simulate: simulate.OptionalJson}
for _command in COMMANDS:
    app.command(cls=CLASSES.get(_command))(_command)

app.add_typer(trace.app)


@app.command()
def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print the version."""
    number = metadata.version("skep")
    print(f'{{"version": "{number}"}}' if as_json else number)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code. Errors are one line on standard error.

    0 done, 1 failed, 2 bad input, 3 nobody answers, 4 not found, 5 denied, 6 conflict, 7 state
    folder, 8 the job failed, 9 the job was cancelled, 130 interrupted.
    """
    try:
        return _run(argv)
    except SkepError as error:
        return _tell(str(error), error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer makes the one of the other
        # Whoever read has gone, as with `| head`; the interpreter must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(argv: list[str] | None) -> int:
    try:
        code = app(args=argv, prog_name="skep", standalone_mode=False)
        sys.stdout.flush()
    except _usage_error() as error:
        return _tell(_usage(error), InputError.exit_code)
    except typer.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _usage_error() -> type[Any]:
    """The base of what typer says of a wrong command line; its module differs by version."""
    return next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see '{context.command_path} --help')" if context is not None else ""
    return " ".join(str(error.format_message()).split()) + hint


def _tell(text: str, code: int) -> int:
    print(f"skep: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

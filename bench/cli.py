"""The `andes` command. The functions of its subcommands are in `bench.commands`.

A command imports what it runs inside its function, so that `andes --help` stays fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from bench.commands import evidence, live, replays
from bench.errors import INTERRUPTED, UserError
from bench.interrupt import sigterm_as_ctrl_c


class _OneLineErrors(TyperGroup):
    """A person's mistake ends in one line on stderr; only bugs show a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            with sigterm_as_ctrl_c():
                code = super().main(*args, **kwargs)
        except typer.TyperException as error:
            _fail(error.format_message(), error.exit_code)
        except UserError as error:
            _fail(str(error), error.exit_code)
        except (KeyboardInterrupt, typer.Abort):
            _fail("stopped.", INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=_OneLineErrors,
    help="Andes: keep every reader reading.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _root(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


for _command in (
    live.bench,
    replays.replay,
    replays.plan,
    replays.bound,
    live.demo,
    live.paths,
    live.top,
    live.soak,
    evidence.evidence,
    evidence.routers,
    evidence.fidelity,
    evidence.microbench,
):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `andes` command and exit with its code."""
    app(arguments)


def _fail(message: str, exit_code: int) -> None:
    line = Text.assemble(("andes: ", "bold red"), " ".join(message.split()))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)
    sys.exit(exit_code)

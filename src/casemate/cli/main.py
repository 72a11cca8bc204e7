"""The command ``casemate``: its options, its exit codes, its way of saying what went wrong.

Exit 0 when all is well, 1 when refused or failed (one clear line on stderr), 2 for wrong usage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from casemate import __version__
from casemate.cli import (
    apply,
    bundle,
    certificates,
    demo,
    documents,
    forget,
    labels,
    models,
    people,
    perimeter,
    policy,
    providers,
    questions,
    quota,
    record,
    usecase,
    verify,
    witness,
)
from casemate.errors import CasemateError
from casemate.settings import MOST_WORKERS, data_folder

Serve = Callable[[Path, str | None, int | None, int | None], None]
ServeWitness = Callable[[Path, str | None, str, int], None]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="casemate")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="CASEMATE_DATA",
    help="Folder that holds everything (default: your user data folder).",
)
@click.pass_context
def casemate(context: click.Context, data: Path | None) -> None:
    """Ask your own documents, with proof."""
    context.ensure_object(dict)
    context.obj.setdefault("data", (data or data_folder()).expanduser())


@casemate.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder that holds everything.")
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default 8470).")
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    help="Processes that accept clients (default 1: this one does).",
)
@click.pass_context
def up(
    context: click.Context,
    data: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
) -> None:
    """Start everything; print a one-time sign-in link."""
    context.obj["serve"]((data or context.obj["data"]).expanduser(), host, port, workers)


_MODULES = (
    *(questions, documents, labels, people, providers, certificates, forget, perimeter, quota),
    *(models, bundle, usecase, policy, apply, record, verify, witness, demo),
)
for module in _MODULES:
    for command in module.COMMANDS:
        casemate.add_command(command)


def run(serve: Serve, serve_witness: ServeWitness) -> NoReturn:
    """Run the command line and exit. ``serve`` starts the server for ``casemate up``,
    ``serve_witness`` that of ``casemate witness up``.
    """
    try:
        # Without its standalone mode click gives a command's own exit code back, not out. It ends
        # quietly when its output is closed, as by `casemate … | head`. The signal that says so
        # stays ignored: by default it kills, also a server whose client has just gone away.
        servers = {"serve": serve, "serve_witness": serve_witness}
        ending = casemate.main(obj=servers, standalone_mode=False)
    except click.UsageError as problem:
        problem.show()
        sys.exit(2)
    except CasemateError as problem:
        click.echo(f"casemate: {problem}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("casemate: stopped.", err=True)
        sys.exit(130)
    except OSError as problem:
        from casemate.store.folder import disk_problem

        click.echo(f"casemate: {disk_problem(problem)}", err=True)
        sys.exit(1)
    except Exception as problem:
        if os.environ.get("CASEMATE_TRACEBACK"):
            raise
        click.echo(
            f"casemate: Something went wrong inside ({type(problem).__name__}). "
            "Nothing recorded is lost. Set CASEMATE_TRACEBACK=1 and run it again to see where.",
            err=True,
        )
        sys.exit(1)
    sys.exit(ending if isinstance(ending, int) else 0)

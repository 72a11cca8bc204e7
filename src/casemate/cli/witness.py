"""Commands of a witness: run one, print its key, choose the logs that it follows.

A witness has a folder of its own and needs no platform's.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from casemate.cli import show
from casemate.errors import Invalid

if TYPE_CHECKING:
    from casemate.ledger.note import Verifier
    from casemate.ledger.witness import KnownLog

_folder = click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the witness; never a platform's data folder.",
)


@click.group()
def witness() -> None:
    """Witness others' logs: up, key, log."""


@witness.command("up")
@_folder
@click.option("--name", help="Name of its key, for a new witness (example.org/witness).")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8471, show_default=True, type=click.IntRange(0, 65535))
@click.pass_obj
def up(obj: dict[str, Any], folder: Path, name: str | None, host: str, port: int) -> None:
    """Run the witness; its folder and key are made at the first start."""
    obj["serve_witness"](folder.expanduser(), name, host, port)


@witness.command("key")
@_folder
@show.json_option
def key(folder: Path, as_json: bool) -> None:
    """Print the key that verifies its cosignatures, as one vkey line."""
    from casemate.ledger.witness import Witness

    found = Witness.open(folder.expanduser(), time.time)
    if as_json:
        show.json({"name": found.name, "vkey": found.vkey})
    else:
        click.echo(found.vkey)


@witness.group("log")
def log() -> None:
    """The logs that it follows: add, list, remove."""


@log.command("add")
@_folder
@click.option("--origin", help="The log's origin, if its keys are named otherwise.")
@click.argument("keys", metavar="VKEY...", nargs=-1, required=True)
def log_add(folder: Path, origin: str | None, keys: tuple[str, ...]) -> None:
    """Follow a log, given all its present keys (two while it changes its key)."""
    from casemate.ledger.witness import Witness

    found = Witness.open(folder.expanduser(), time.time)
    added = found.add_log(tuple(_verifier(one) for one in keys), origin)
    click.echo(f"Following {added.origin} from size {added.latest.size:,}.")


@log.command("list")
@_folder
@show.json_option
def log_list(folder: Path, as_json: bool) -> None:
    """List the logs, and how far each was cosigned; exit 1 if the memory of one is damaged."""
    from casemate.ledger.witness import Witness

    logs, damaged = Witness.open(folder.expanduser(), time.time).logs()
    rows = [_row(one) for one in logs]
    show.items(rows, ("origin", "size", "keys"), as_json=as_json, empty="No log is followed yet.")
    for problem in damaged:
        click.echo(f"casemate: {problem}", err=True)
    if damaged:
        raise click.exceptions.Exit(1)


@log.command("remove")
@_folder
@click.argument("origin")
def log_remove(folder: Path, origin: str) -> None:
    """Follow a log no longer. How far it was is kept, should it be added again."""
    from casemate.ledger.witness import Witness

    Witness.open(folder.expanduser(), time.time).remove_log(origin)
    click.echo(f"No longer following {origin}.")


def _row(log: KnownLog) -> dict[str, Any]:
    return {
        "origin": log.origin,
        "size": log.latest.size,
        "keys": [one.vkey for one in log.keys],
    }


def _verifier(vkey: str) -> Verifier:
    from casemate.ledger.note import NoteError, Verifier

    try:
        return Verifier.parse(vkey)
    except NoteError as error:
        raise Invalid(
            f"This is no key of a log: {error}.", "Ask for the log's vkey line."
        ) from None


COMMANDS = (witness,)

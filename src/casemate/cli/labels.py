"""Commands around labels: list, show, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.errors import TooLarge
from casemate.gate.confidentiality import LARGEST


@click.group()
def label() -> None:
    """Labels: list, show, export, import."""


@label.command("list")
@show.data_option
@show.json_option
@click.pass_obj
def label_list(obj: dict[str, Any], as_json: bool) -> None:
    """List the levels of every label policy, lowest first, and which are worth the same."""
    show.items(
        line.act(obj["data"], "label.list", {}, create=True),
        ("level", "marking", "equivalent", "binds"),
        as_json=as_json,
        empty="No levels.",
    )


@label.command("show")
@show.data_option
@click.argument("label", required=False)
@click.option("--document", help="The label of this document.")
@click.option("--collection", help="The label of this collection.")
@show.principal_option
@show.json_option
@click.pass_obj
def label_show(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Show what a label says, and whether your clearance covers it."""
    _one_of(arguments, "label", "document", "collection")
    (found,) = line.act(obj["data"], "label.show", arguments, create=True)
    show.one(found, as_json=as_json)


@label.command("export")
@show.data_option
@click.option("--document", help="The label of this document.")
@click.option("--collection", help="The label of this collection.")
@click.option(
    "--to", type=click.Path(path_type=Path, dir_okay=False), help="File (default: standard output)."
)
@show.principal_option
@click.pass_obj
def label_export(
    obj: dict[str, Any],
    document: str | None,
    collection: str | None,
    to: Path | None,
    principal: str | None,
) -> None:
    """Write a label as STANAG 4774 XML, to go along with what it is the label of."""
    arguments = {"document": document, "collection": collection, "principal": principal}
    _one_of(arguments, "document", "collection")
    (found,) = line.act(obj["data"], "label.export", arguments)
    if to is None:
        click.echo(found["xml"], nl=False)
    else:
        to.write_text(found["xml"], encoding="utf-8")
        click.echo(f"{to}: {found['label']}.")


@label.command("import")
@show.data_option
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--collection", required=True, help="Name of the collection to make.")
@click.option(
    "--reader",
    "readers",
    multiple=True,
    help="Who may read it (default: everyone): a principal's name or role:NAME; repeatable.",
)
@show.principal_option
@show.json_option
@click.pass_obj
def label_import(
    obj: dict[str, Any],
    file: Path,
    collection: str,
    readers: tuple[str, ...],
    principal: str | None,
    as_json: bool,
) -> None:
    """Make an empty collection with the label of a STANAG 4774 XML file."""
    with file.open("rb") as opened:
        xml = opened.read(LARGEST + 1)
    if len(xml) > LARGEST:
        raise TooLarge(f"{file.name} is larger than {LARGEST >> 10} KiB.", "Is it a label?")
    arguments = {
        "xml": xml.decode("utf-8", "surrogateescape"),
        "collection": collection,
        "readers": list(readers) or None,
        "principal": principal,
    }
    (made,) = line.act(obj["data"], "label.import", arguments, create=True)
    show.one(made, as_json=as_json)


def _one_of(arguments: dict[str, Any], *names: str) -> None:
    if sum(arguments.get(name) is not None for name in names) != 1:
        wanted = " or ".join("a label" if name == "label" else f"--{name}" for name in names)
        raise click.UsageError(f"Give one: {wanted}.")


COMMANDS = (label,)

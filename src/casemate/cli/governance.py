"""Commands around the places where data may flow: perimeter."""

from __future__ import annotations

from typing import Any

import click

from casemate.cli import line, show


@click.group()
def perimeter() -> None:
    """The perimeter, the places where data may flow: list, add, remove."""


@perimeter.command("list")
@show.data_option
@show.json_option
@click.pass_obj
def perimeter_list(obj: dict[str, Any], as_json: bool) -> None:
    """List the declared places."""
    show.items(
        line.act(obj["data"], "perimeter.list", {}),
        ("name", "host", "ports", "jurisdiction", "ceiling"),
        as_json=as_json,
        empty="Nothing may leave: no place is declared. `casemate perimeter add` declares one.",
    )


@perimeter.command("add")
@show.data_option
@click.argument("name")
@click.option("--host", required=True, help="Exact host name, IP or network (CIDR).")
@click.option("--port", "ports", type=click.IntRange(1, 65535), multiple=True, required=True)
@click.option("--jurisdiction", required=True, help="Country code, e.g. LU.")
@click.option("--ceiling", required=True, help="The highest label that may flow there.")
@show.json_option
@click.pass_obj
def perimeter_add(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Declare a place."""
    (made,) = line.act(obj["data"], "perimeter.add", arguments, create=True)
    show.one(made, as_json=as_json)


@perimeter.command("remove")
@show.data_option
@click.argument("name")
@show.json_option
@click.pass_obj
def perimeter_remove(obj: dict[str, Any], name: str, as_json: bool) -> None:
    """Take a place out."""
    (gone,) = line.act(obj["data"], "perimeter.remove", {"name": name})
    show.one(gone, as_json=as_json)


COMMANDS = (perimeter,)

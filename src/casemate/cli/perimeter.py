"""Commands on the perimeter: what may be reached, what keeps it so, and the proof of it."""

from __future__ import annotations

from typing import Any

import click

from casemate.cli import line, show


@click.group()
def perimeter() -> None:
    """The perimeter, the places where data may flow: list, add, remove, rules, prove."""


@perimeter.command("list")
@show.data_option
@show.json_option
@click.pass_obj
def perimeter_list(obj: dict[str, Any], as_json: bool) -> None:
    """List the declared places."""
    _list(line.act(obj["data"], "perimeter.list", {}), as_json)


@perimeter.command("add")
@show.data_option
@click.argument("name")
@click.option("--host", required=True, help="Exact host name, IP, network (CIDR) or socket path.")
@click.option(
    "--port", "ports", type=click.IntRange(1, 65535), multiple=True, help="None for a socket."
)
@click.option("--jurisdiction", required=True, help="Country code, e.g. LU.")
@click.option("--ceiling", required=True, help="The highest label that may flow there.")
@click.option("--within", multiple=True, help="Network that a name may lead to (default: any).")
@click.option(
    "--transport",
    "transports",
    type=click.Choice(["tcp", "udp"]),
    multiple=True,
    help="Repeatable (default: tcp).",
)
@click.option("--bucket", help="Only this bucket at that host.")
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


@perimeter.command("reload")
@show.data_option
@show.json_option
@click.pass_obj
def perimeter_reload(obj: dict[str, Any], as_json: bool) -> None:
    """Put perimeter.toml as it is now into force; if it is wrong, nothing changes."""
    _list(line.act(obj["data"], "perimeter.reload", {}), as_json)


@perimeter.command("check")
@show.data_option
@show.json_option
@click.pass_obj
def perimeter_check(obj: dict[str, Any], as_json: bool) -> int:
    """Say of every configured address whether it lies inside; exit 1 if one does not."""
    found = list(line.act(obj["data"], "perimeter.check", {}))
    show.items(
        found,
        ("what", "address", "place", "problem"),
        as_json=as_json,
        empty="No address is configured: nothing leaves.",
    )
    return int(any(one["problem"] for one in found))


@perimeter.command("rules")
@show.data_option
@click.option(
    "--format", type=click.Choice(["nftables", "systemd"]), required=True, help="For what."
)
@click.option(
    "--account", help="Account that Casemate runs under, for nftables (default: this one)."
)
@click.option(
    "--called-by",
    multiple=True,
    help="For systemd: network that people or proxies connect from, apart from this machine.",
)
@show.json_option
@click.pass_obj
def perimeter_rules(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Print the perimeter as rules for the kernel."""
    (found,) = line.act(obj["data"], "perimeter.rules", arguments)
    if as_json:
        show.one(found, as_json=True)
    else:
        click.echo(found["text"], nl=False)


def _list(found: Any, as_json: bool) -> None:
    show.items(
        found,
        ("name", "host", "ports", "jurisdiction", "ceiling", "within", "transports", "bucket"),
        as_json=as_json,
        empty="Nothing may leave: no place is declared. `casemate perimeter add` declares one.",
    )


COMMANDS = (perimeter,)

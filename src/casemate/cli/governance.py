"""Commands that decide what is allowed: usecase, policy, perimeter."""

from __future__ import annotations

from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.acts import Item


@click.group()
def usecase() -> None:
    """Use cases: list, show, register, approve, suspend, retire."""


@usecase.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List use cases."""
    found = line.act(obj["data"], "usecase.list", {"principal": principal})
    show.items(
        found if as_json else map(_in_words, found),
        ("id", "state", "risk", "models", "collections", "ceiling", "oversight", "purpose"),
        as_json=as_json,
        empty="No use cases.",
    )


@usecase.command("show")
@show.data_option
@click.argument("id")
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_show(obj: dict[str, Any], id: str, principal: str | None, as_json: bool) -> None:
    """Show one use case."""
    (found,) = line.act(obj["data"], "usecase.show", {"id": id, "principal": principal})
    show.one(found if as_json else _in_words(found), as_json=as_json)


def _in_words(use_case: Item) -> Item:
    """A use case with its collections as people read them: all, or names, and how many more."""
    shown = dict(use_case)
    hidden = shown.pop("collections_hidden")
    if shown["collections"] is None:
        shown["collections"] = "all"
    elif hidden:
        shown["collections"] = [*shown["collections"], f"{hidden} that you may not see"]
    return shown


@usecase.command("register")
@show.data_option
@click.argument("id")
@click.option("--purpose", required=True)
@click.option("--legal-basis", required=True)
@click.option("--risk", type=click.Choice(["minimal", "limited", "high"]), required=True)
@click.option("--model", "models", multiple=True, help="Repeatable (default: quote).")
@click.option("--collection", "collections", multiple=True, help="Repeatable (default: all).")
@click.option(
    "--no-documents", is_flag=True, help="Search nothing: a model that is asked as it is."
)
@click.option(
    "--ceiling", help="The highest label it may use, e.g. restricted (default: the lowest)."
)
@click.option(
    "--oversight",
    type=click.Choice(["none", "after"]),
    default="after",
    show_default=True,
    help="after: people may review its runs; nothing is held back until they do.",
)
@click.option("--retention-days", type=click.IntRange(183, 36500), default=183, show_default=True)
@show.principal_option
@show.json_option
@click.pass_obj
def usecase_register(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Register a draft, for a second person to approve."""
    (made,) = line.act(obj["data"], "usecase.register", arguments)
    show.one(made if as_json else _in_words(made), as_json=as_json)


def _move(verb: str, help: str) -> None:
    @usecase.command(verb, help=help)
    @show.data_option
    @click.argument("id")
    @show.principal_option
    @show.json_option
    @click.pass_obj
    def move(obj: dict[str, Any], id: str, principal: str | None, as_json: bool) -> None:
        arguments = {"id": id, "principal": principal}
        (moved,) = line.act(obj["data"], f"usecase.{verb}", arguments)
        show.one(moved if as_json else _in_words(moved), as_json=as_json)


for _verb, _help in (
    ("approve", "Approve a draft, as a second person."),
    ("suspend", "Suspend an approved use case."),
    ("retire", "Retire a use case for good."),
):
    _move(_verb, _help)


@click.group()
def policy() -> None:
    """Policies: check."""


@policy.command("check")
@show.data_option
@show.json_option
@click.pass_obj
def policy_check(obj: dict[str, Any], as_json: bool) -> None:
    """Read the policy files as they are now; say whether they are valid and in force."""
    (found,) = line.act(obj["data"], "policy.check", {})
    show.one(found, as_json=as_json)


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


COMMANDS = (usecase, policy, perimeter)

"""Commands that erase, and that keep from erasing: forget, hold, retention."""

from __future__ import annotations

import sys
from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.acts import Item

_BASIS = "gdpr-17-1-a"
_REMAINS = (
    "commitments in the ledger, which nothing opens any more, under the pseudonym {pseudonym}",
    "backups made before today: let them expire, or erase them",
    "receipts that others hold: they still verify",
)


@click.command("forget")
@show.data_option
@click.argument("name", metavar="PRINCIPAL")
@click.option(
    "--basis",
    default=_BASIS,
    show_default=True,
    metavar="CODE",
    help="The law's ground: gdpr-17-1-a to gdpr-17-1-e, or led-16-2.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@show.principal_option
@show.json_option
@click.pass_obj
def forget(
    obj: dict[str, Any], name: str, basis: str, yes: bool, principal: str | None, as_json: bool
) -> None:
    """Erase all content of a person, for good, and record that it was done."""
    arguments = {"name": name, "basis": basis, "principal": principal}
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody is there to confirm it: say --yes.")
        (plan,) = line.act(obj["data"], "forget.plan", arguments)
        counts = ", ".join(f"{number} {what}" for what, number in plan["counts"].items())
        click.echo(f"Of {name} there is to be erased: {counts}. It cannot be brought back.")
        click.confirm(f"Forget {name}?", abort=True)
    (done,) = line.act(obj["data"], "forget", arguments)
    if as_json:
        show.json(done)
    else:
        _tell(name, done)


@click.group()
def hold() -> None:
    """Legal holds: add, list, lift. What a hold covers is not erased."""


@hold.command("add")
@show.data_option
@click.option("--principal", "person", help="Hold all content of this principal.")
@click.option("--run", help="Hold the content of this run.")
@click.option("--collection", help="Hold this collection, and runs whose sources came from it.")
@click.option("--reason", required=True, help="Confidential; the ledger only commits to it.")
@click.option("--until", required=True, metavar="DATE|open", help="The last day, YYYY-MM-DD UTC.")
@show.json_option
@click.pass_obj
def hold_add(
    obj: dict[str, Any],
    person: str | None,
    run: str | None,
    collection: str | None,
    reason: str,
    until: str,
    as_json: bool,
) -> None:
    """Keep what a law needs from being erased."""
    chosen = {"principal": person, "run": run, "collection": collection}
    named = [(kind, target) for kind, target in chosen.items() if target is not None]
    if len(named) != 1:
        raise click.UsageError("Say what to hold: one of --principal, --run, --collection.")
    ((kind, target),) = named
    arguments = {"kind": kind, "target": target, "reason": reason, "until": until}
    (made,) = line.act(obj["data"], "hold.add", arguments)
    show.one(made, as_json=as_json)


@hold.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def hold_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List holds; their reasons only for who may audit."""
    show.items(
        line.act(obj["data"], "hold.list", {"principal": principal}),
        ("id", "kind", "target", "until", "lifted", "reason"),
        as_json=as_json,
        empty="No holds.",
    )


@hold.command("lift")
@show.data_option
@click.argument("id")
@click.option("--reason", required=True, help="Confidential; the ledger only commits to it.")
@show.principal_option
@show.json_option
@click.pass_obj
def hold_lift(
    obj: dict[str, Any], id: str, reason: str, principal: str | None, as_json: bool
) -> None:
    """End a hold."""
    arguments = {"id": id, "reason": reason, "principal": principal}
    (lifted,) = line.act(obj["data"], "hold.lift", arguments)
    show.one(lifted, as_json=as_json)


@click.group()
def retention() -> None:
    """Retention: erase the content of runs that are old enough."""


@retention.command("run")
@show.data_option
@show.json_option
@click.pass_obj
def retention_run(obj: dict[str, Any], as_json: bool) -> None:
    """Erase what is older than its use case's retention, now."""
    show.items(
        line.act(obj["data"], "retention.run", {}),
        ("use_case", "before", "runs", "openings", "held", "entry"),
        as_json=as_json,
        empty="There is no use case.",
    )


def _tell(name: str, done: Item) -> None:
    counts = done["counts"]
    click.echo(f"{name} is forgotten; entry {done['entry']} proves it.")
    click.echo(f"Erased:  {', '.join(f'{number} {what}' for what, number in counts.items())}")
    for one in _REMAINS:
        click.echo(f"Remains: {one.format(pseudonym=done['pseudonym'])}")
    hidden = sum(document["name"] is None for document in done["remaining"])
    if hidden:
        click.echo(f"Remains: {hidden} in shared collections that you may not read")
    for document in done["remaining"]:
        if document["name"] is None:
            continue
        click.echo(
            f"Remains: {document['name']} in the shared collection {document['collection']}, "
            f"to which it belongs ({document['id']})"
        )


COMMANDS = (forget, hold, retention)

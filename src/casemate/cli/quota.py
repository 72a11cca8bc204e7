"""Commands on limits and shares: who may use how much, and who goes first."""

from __future__ import annotations

from typing import Any

import click

from casemate.cli import line, show

_MEASURES = ("tokens", "requests", "runs", "gpu_seconds", "watt_hours")
_WINDOWS = ("minute", "day", "month")
_OF = "principal:NAME, use-case:ID, tenant, tenant:NAME; “principal:*” is each one's own."


@click.group()
def quota() -> None:
    """Who may use how much, and who goes first."""


@quota.command("show")
@show.data_option
@click.option("--all", "everything", is_flag=True, help="Every limit that is set, not mine alone.")
@show.principal_option
@show.json_option
@click.pass_obj
def quota_show(obj: dict[str, Any], everything: bool, principal: str | None, as_json: bool) -> None:
    """Show the limits that hold for me, and what I used of my own."""
    found = line.act(obj["data"], "quota.show", {"all": everything, "principal": principal})
    show.items(
        found,
        ("of", "measure", "per", "limit")
        if everything
        else ("of", "measure", "per", "limit", "used", "left", "renews_seconds"),
        as_json=as_json,
        empty="No limits but that on runs open at one time. `casemate quota set` sets one.",
    )


def _limited(command: Any) -> Any:
    """The options that say which limit is meant."""
    for option in reversed(
        (
            click.argument("measure", type=click.Choice(_MEASURES)),
            click.option("--of", required=True, help=_OF),
            click.option("--per", type=click.Choice(_WINDOWS), help="Not for runs."),
        )
    ):
        command = option(command)
    return command


@quota.command("set")
@show.data_option
@_limited
@click.argument("amount", type=float)
@show.principal_option
@show.json_option
@click.pass_obj
def quota_set(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Set a limit. GPU-seconds and watt-hours are estimates: see `quota capacity`."""
    (made,) = line.act(obj["data"], "quota.set", arguments)
    show.one(made, as_json=as_json)


@quota.command("remove")
@show.data_option
@_limited
@show.principal_option
@show.json_option
@click.pass_obj
def quota_remove(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Take a limit away."""
    (gone,) = line.act(obj["data"], "quota.remove", arguments)
    show.one(gone, as_json=as_json)


@quota.command("priority")
@show.data_option
@click.argument("use_case", metavar="USE-CASE")
@click.argument("priority", type=click.Choice(["interactive", "normal", "batch"]))
@show.principal_option
@show.json_option
@click.pass_obj
def quota_priority(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Say who goes first: interactive, then normal, then batch."""
    (made,) = line.act(obj["data"], "quota.priority", arguments)
    show.one(made, as_json=as_json)


@quota.command("weight")
@show.data_option
@click.argument("weight", type=click.IntRange(1, 1000))
@click.option("--of", required=True, help="principal:NAME, principal:*, tenant or tenant:NAME.")
@show.principal_option
@show.json_option
@click.pass_obj
def quota_weight(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Give a larger part, while others wait too: twice the weight, twice the tokens."""
    (made,) = line.act(obj["data"], "quota.weight", arguments)
    show.one(made, as_json=as_json)


@quota.command("shares")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def quota_shares(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List the priorities and weights that are set."""
    show.items(
        line.act(obj["data"], "quota.shares", {"principal": principal}),
        ("of", "weight", "priority"),
        as_json=as_json,
        empty="None: every use case is normal, every weight 1.",
    )


@quota.command("capacity")
@show.data_option
@click.argument("model", required=False)
@click.option("--slots", type=click.IntRange(1), help="Answers it computes side by side.")
@click.option("--accelerators", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--watts", type=click.IntRange(0), default=0, help="Drawn with all slots at work, as declared."
)
@show.principal_option
@show.json_option
@click.pass_obj
def quota_capacity(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Declare the machine behind a model (with --slots), or list what holds."""
    show.items(
        line.act(obj["data"], "quota.capacity", arguments),
        ("model", "slots", "accelerators", "watts", "declared"),
        as_json=as_json,
        empty="No models.",
    )


COMMANDS = (quota,)

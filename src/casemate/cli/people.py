"""Commands around people and services: user, key."""

from __future__ import annotations

import sys
from typing import Any

import click

from casemate.cli import line, show

_ROLES = click.Choice(["owner", "admin", "auditor", "user", "provisioner"])


@click.group()
def user() -> None:
    """People and services: create, list, change, disable, password, totp, link, sign-out."""


@user.command("create")
@show.data_option
@click.argument("name")
@click.option(
    "--clearance", help="The highest label it may read, e.g. restricted (default: the lowest)."
)
@click.option("--role", "roles", multiple=True, type=_ROLES, help="Repeatable (default: user).")
@click.option("--service", is_flag=True, help="A service account, not a person.")
@show.json_option
@click.pass_obj
def user_create(
    obj: dict[str, Any],
    name: str,
    clearance: str | None,
    roles: tuple[str, ...],
    service: bool,
    as_json: bool,
) -> None:
    """Make a principal."""
    arguments = {
        "name": name,
        "clearance": clearance,
        "roles": roles,
        "kind": "service" if service else "person",
    }
    (made,) = line.act(obj["data"], "user.create", arguments, create=True)
    show.one(made, as_json=as_json)


@user.command("list")
@show.data_option
@show.json_option
@click.pass_obj
def user_list(obj: dict[str, Any], as_json: bool) -> None:
    """List principals."""
    show.items(
        line.act(obj["data"], "user.list", {}),
        ("name", "kind", "roles", "clearance", "disabled"),
        as_json=as_json,
        empty="Nobody yet.",
    )


@user.command("change")
@show.data_option
@click.argument("name")
@click.option("--clearance", help="Another clearance, e.g. restricted.")
@click.option("--role", "roles", multiple=True, type=_ROLES, help="Other roles; repeatable.")
@show.json_option
@click.pass_obj
def user_change(
    obj: dict[str, Any], name: str, clearance: str | None, roles: tuple[str, ...], as_json: bool
) -> None:
    """Give a principal another clearance or other roles."""
    if clearance is None and not roles:
        raise click.UsageError("Say what to change: --clearance or --role.")
    arguments = {"name": name, "clearance": clearance, "roles": roles}
    (changed,) = line.act(obj["data"], "user.change", arguments)
    show.one(changed, as_json=as_json)


@user.command("disable")
@show.data_option
@click.argument("name")
@show.json_option
@click.pass_obj
def user_disable(obj: dict[str, Any], name: str, as_json: bool) -> None:
    """Shut a principal out; sessions and keys end at once."""
    (disabled,) = line.act(obj["data"], "user.disable", {"name": name})
    show.one(disabled, as_json=as_json)


@user.command("password")
@show.data_option
@click.argument("name")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
@show.json_option
@click.pass_obj
def user_password(obj: dict[str, Any], name: str, from_stdin: bool, as_json: bool) -> None:
    """Set a password; asks for it, so that it never stands in a command line."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    (done,) = line.act(obj["data"], "user.password", {"name": name, "password": password})
    if as_json:
        show.json(done)
    else:
        click.echo(f"The password of {done['name']} is set; open sessions have ended.")


@user.command("totp")
@show.data_option
@click.argument("name")
@click.option("--off", is_flag=True, help="Ask for no codes any more.")
@show.json_option
@click.pass_obj
def user_totp(obj: dict[str, Any], name: str, off: bool, as_json: bool) -> None:
    """Ask for a code of an authenticator app at each sign-in; sessions end.

    Prints the address for the app, and recovery codes, this once.
    """
    if off:
        (done,) = line.act(obj["data"], "user.totp_off", {"name": name})
        show.one(done, as_json=as_json)
        return
    (made,) = line.act(obj["data"], "user.totp", {"name": name})
    if as_json:
        show.json(made)
        return
    click.echo("Keep these now; they are not shown again. For the app:", err=True)
    click.echo(made["address"])
    click.echo("Recovery codes, each for one sign-in without the app:", err=True)
    for code in made["recovery_codes"]:
        click.echo(code)


@user.command("link")
@show.data_option
@click.argument("name", required=False)
@show.json_option
@click.pass_obj
def user_link(obj: dict[str, Any], name: str | None, as_json: bool) -> None:
    """Print a one-time sign-in link (default: for the owner)."""
    (made,) = line.act(obj["data"], "user.link", {"name": name})
    if as_json:
        show.json(made)
    else:
        click.echo(f"Works once, within {made['minutes']} minutes, for {made['name']}:")
        click.echo(made["link"])


@user.command("sign-out")
@show.data_option
@click.argument("name", required=False)
@click.option("--everybody", is_flag=True, help="Of all people of the tenant.")
@show.json_option
@click.pass_obj
def user_sign_out(obj: dict[str, Any], name: str | None, everybody: bool, as_json: bool) -> None:
    """End every open session of NAME; keys stay, and who can may sign in again."""
    if (name is None) != everybody:
        raise click.UsageError("Say whose: NAME, or --everybody.")
    (found,) = line.act(obj["data"], "user.sign_out", {"name": name})
    show.one(found, as_json=as_json)


@user.command("refresh")
@show.data_option
@show.json_option
@click.pass_obj
def user_refresh(obj: dict[str, Any], as_json: bool) -> None:
    """Ask the LDAP directory again about everybody it has let in; a server does so by itself."""
    (found,) = line.act(obj["data"], "user.refresh", {})
    show.one(found, as_json=as_json)


@click.group()
def key() -> None:
    """API keys: create, list, revoke."""


@key.command("create")
@show.data_option
@click.option("--principal", required=True, help="Whose key.")
@click.option("--use-case", help="The only use case it may be used for.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it expires.")
@show.json_option
@click.pass_obj
def key_create(
    obj: dict[str, Any], principal: str, use_case: str | None, days: int | None, as_json: bool
) -> None:
    """Make an API key; its secret is printed this once."""
    arguments = {"name": principal, "use_case": use_case, "days": days}
    (made,) = line.act(obj["data"], "key.create", arguments, create=True)
    if as_json:
        show.json(made)
    else:
        click.echo("Keep it now; it is not shown again:", err=True)
        click.echo(made["key"])


@key.command("list")
@show.data_option
@show.json_option
@click.pass_obj
def key_list(obj: dict[str, Any], as_json: bool) -> None:
    """List keys, never their secrets."""
    show.items(
        line.act(obj["data"], "key.list", {}),
        ("id", "principal", "use_case", "created", "expires", "revoked", "last_used"),
        as_json=as_json,
        empty="No keys yet. `casemate key create --principal NAME` makes one.",
    )


@key.command("revoke")
@show.data_option
@click.argument("id")
@show.json_option
@click.pass_obj
def key_revoke(obj: dict[str, Any], id: str, as_json: bool) -> None:
    """End a key."""
    (gone,) = line.act(obj["data"], "key.revoke", {"id": id})
    show.one(gone, as_json=as_json)


COMMANDS = (user, key)

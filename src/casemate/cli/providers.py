"""Commands around identity providers: provider."""

from __future__ import annotations

from typing import Any

import click

from casemate.cli import line, show


@click.group()
def provider() -> None:
    """Identity providers that people may sign in with: list, check."""


@provider.command("list")
@show.data_option
@show.json_option
@click.pass_obj
def provider_list(obj: dict[str, Any], as_json: bool) -> None:
    """List the providers that the file of the setting `identity_providers` declares."""
    show.items(
        line.act(obj["data"], "provider.list", {}),
        ("name", "title", "issuer", "back", "logout"),
        as_json=as_json,
        empty="No identity providers. The setting identity_providers names the file of them.",
    )


@provider.command("check")
@show.data_option
@click.argument("name")
@show.json_option
@click.pass_obj
def provider_check(obj: dict[str, Any], name: str, as_json: bool) -> None:
    """Ask a provider for its description and keys, as a sign-in would, and say what it answers."""
    (found,) = line.act(obj["data"], "provider.check", {"name": name})
    show.one(found, as_json=as_json)


COMMANDS = (provider,)

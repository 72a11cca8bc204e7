"""Commands on what is recorded and how things stand: status, settings."""

from __future__ import annotations

from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.ledger import ledger


@click.command()
@show.data_option
@show.json_option
@click.pass_obj
def status(obj: dict[str, Any], as_json: bool) -> None:
    """Say how things stand."""
    (found,) = line.act(obj["data"], "status", {})
    show.one(found, as_json=as_json)


@click.command()
@show.data_option
@show.json_option
@click.pass_obj
def settings(obj: dict[str, Any], as_json: bool) -> None:
    """List every setting, its variable, value and meaning."""
    from casemate import settings as settings_

    chosen = settings_.load(obj["data"])
    rows = [
        {
            "name": one.name,
            "variable": one.variable,
            "value": one.value,
            "default": one.default,
            "meaning": one.description,
        }
        for one in settings_.describe(chosen)
    ]
    # Their values are not shown: keys are among them.
    rows += [
        {
            "name": None,
            "variable": one.name,
            "value": None,
            "default": None,
            "meaning": one.description,
        }
        for one in settings_.VARIABLES
    ]
    show.items(
        rows, ("name", "variable", "value", "meaning"), as_json=as_json, empty="No settings."
    )


COMMANDS = (ledger, status, settings)

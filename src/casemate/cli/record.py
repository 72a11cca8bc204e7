"""Commands on what is recorded and how things stand: status, settings."""

from __future__ import annotations

from collections.abc import Mapping
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
    if not as_json:
        found = dict(found)
        models = found.pop("models")
        found["disk_free"] = f"{found.pop('disk_free_gibibytes')} GiB"
        found["models"] = "; ".join(map(model_line, models)) or None
    show.one(found, as_json=as_json)


def model_line(model: Mapping[str, Any]) -> str:
    """A model and its queue, as people read them."""
    said = f"{model['model']} ({model['working']} of {model['slots']} slots at work"
    said += f", {model['waiting']} waiting" if model["waiting"] else ""
    said += f", {model['failures']} failures" if model["failures"] else ""
    unwell = [one for one in model["replicas"] if one["state"] != "closed"]
    for one in unwell:
        said += f", replica {one['number']} of {len(model['replicas'])} fails"
    return said + ")"


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

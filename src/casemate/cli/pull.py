"""The command that gets a model's files from a hub: `casemate model pull`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.acts import Item

_DEFAULT = "https://huggingface.co"
TOKEN = "CASEMATE_HUB_TOKEN"  # noqa: S105 - the name of the variable


@click.command("pull")
@show.data_option
@click.argument("repo")
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit.")
@click.option(
    "--from",
    "hub",
    default=_DEFAULT,
    show_default=True,
    metavar="HUB",
    help="Address of the hub or of a mirror; it must lie inside the perimeter.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Only files that fit, for instance '*.safetensors'; repeatable (default: all).",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the files (default: REPO's name)."
)
@click.option(
    "--at-most",
    type=click.IntRange(1, 1 << 20),
    default=500,
    show_default=True,
    metavar="GIB",
    help="Refuse more than this.",
)
@show.principal_option
@show.json_option
@click.pass_obj
def pull(
    obj: dict[str, Any],
    repo: str,
    revision: str,
    hub: str,
    include: tuple[str, ...],
    out: Path | None,
    at_most: int,
    principal: str | None,
    as_json: bool,
) -> None:
    """Get the files of REPO from a hub or a mirror inside the perimeter.

    Every file is checked against the digest that the hub lists, and the commit is written to
    pull.json beside them. Pickled weights are refused. Run again, it goes on where it stopped. A
    token, where the hub wants one, stands in CASEMATE_HUB_TOKEN. Describe the model in a
    manifest.toml in that folder; then `casemate model import` takes it in.
    """
    folder = (out or Path(repo.rsplit("/", 1)[-1])).expanduser().absolute()
    arguments = {
        "repo": repo,
        "revision": revision,
        "hub": hub,
        "include": list(include),
        "folder": str(folder),
        "most_bytes": at_most << 30,
        "token": os.environ.get(TOKEN),
        "principal": principal,
    }
    last: Item = {}
    for item in _with_progress(line.act(obj["data"], "model.pull", arguments), quiet=as_json):
        last = item
    if as_json:
        show.json(last)
    else:
        shown = {name: last[name] for name in ("repo", "commit", "folder", "record")}
        show.one({**shown, "files": sorted(last["files"])}, as_json=False)


def _with_progress(steps: Iterator[Item], *, quiet: bool) -> Iterator[Item]:
    if quiet or not sys.stderr.isatty():
        yield from steps
        return
    with click.progressbar(length=1, label="Pulling", file=sys.stderr) as bar:
        for step in steps:
            if "total" in step:
                bar.length = max(step["total"], 1)
                bar.update(step["done"] - bar.pos)
            yield step

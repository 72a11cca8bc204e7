"""Commands for air gaps: bundle make, inspect, import, key, trust."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.acts import Item
from casemate.cli.documents import files_of
from casemate.errors import Refused

_path = click.Path(path_type=Path)


@click.group()
def bundle() -> None:
    """Bundles that cross an air gap in one file: make, inspect, import, key, trust.

    A bundle holds models, documents and proposals of policies, and is signed by two people. It is
    read once, from front to back, so that it passes a one-way link.
    """


@bundle.command("key")
@click.argument("out", type=_path)
@show.json_option
def bundle_key(out: Path, as_json: bool) -> None:
    """Make a key to sign bundles with: the private half in OUT, the public one in OUT.pub."""
    from casemate.models.bundle.keys import make_key

    made = make_key(out.expanduser())
    show.one(
        {"key": made.fingerprint, "private": str(out), "public": f"{out}.pub"}, as_json=as_json
    )


@bundle.command("make")
@show.data_option
@click.argument("out", type=_path)
@click.option(
    "--sequence",
    type=click.IntRange(1, (1 << 53) - 1),
    required=True,
    help="Its number, higher than that of the bundle before: older ones are refused after it.",
)
@click.option("--model", "models", multiple=True, help="An approved model; repeatable.")
@click.option("--collection", "collections", multiple=True, help="All its documents; repeatable.")
@click.option("--documents", type=_path, help="A folder of documents that are not in a collection.")
@click.option("--into", help="Collection that these come into (default: the folder's name).")
@click.option("--policy", "policies", type=_path, multiple=True, help="A .cedar file; repeatable.")
@click.option("--adapter", "adapters", type=_path, multiple=True, help="A file; repeatable.")
@click.option("--evaluation", "evaluations", type=_path, multiple=True, help="A file; repeatable.")
@click.option("--label", help="Label of what is given as files (default: of what has no label).")
@click.option("--licence", default="", help="Licence of what is given as files.")
@click.option("--note", default="", help="What the receivers should know; signed like the rest.")
@click.option(
    "--key",
    "keys",
    type=_path,
    multiple=True,
    required=True,
    help="Private key to sign with; twice, of two people.",
)
@show.principal_option
@show.json_option
@click.pass_obj
def bundle_make(
    obj: dict[str, Any],
    out: Path,
    sequence: int,
    models: tuple[str, ...],
    collections: tuple[str, ...],
    documents: Path | None,
    into: str | None,
    policies: tuple[Path, ...],
    adapters: tuple[Path, ...],
    evaluations: tuple[Path, ...],
    label: str | None,
    licence: str,
    note: str,
    keys: tuple[Path, ...],
    principal: str | None,
    as_json: bool,
) -> None:
    """Put models, documents and more into the file OUT, signed by two people."""
    files = [
        (kind, one.name, str(one.expanduser().absolute()))
        for kind, given in (
            ("policy", policies),
            ("adapter", adapters),
            ("evaluation", evaluations),
        )
        for one in given
    ]
    if documents is not None:
        name = into or documents.expanduser().resolve().name
        found, _ = files_of((str(documents),))
        files += [("document", f"{name}/{path}", place) for place, path in found]
    arguments = {
        "out": str(out.expanduser().absolute()),
        "sequence": sequence,
        "models": list(models),
        "collections": list(collections),
        "files": files,
        "label": label,
        "licence": licence,
        "note": note,
        "keys": [str(key.expanduser().absolute()) for key in keys],
        "principal": principal,
    }
    *_, made = _with_progress(
        line.act(obj["data"], "bundle.make", arguments), "Writing", quiet=as_json
    )
    show.one(made, as_json=as_json)


@bundle.command("inspect")
@click.argument("file", type=_path)
@click.option(
    "--trust", "keys", type=_path, multiple=True, help="Public key that has to count; repeatable."
)
@show.json_option
def bundle_inspect(file: Path, keys: tuple[Path, ...], as_json: bool) -> None:
    """Check FILE from front to back and show what it says of itself; nothing is taken from it.

    Without --trust, this shows that the file is whole and by which keys it is signed, and not
    whether these are the right ones.
    """
    import msgspec

    from casemate.models.bundle.keys import read_public
    from casemate.models.bundle.reading import inspect, unreadable

    believed = {read_public(place.expanduser()).fingerprint for place in keys}
    try:
        with file.expanduser().open("rb") as stream:
            manifest, seal = inspect(stream)
    except OSError as problem:
        raise unreadable(problem) from problem
    for signer in manifest.signers:
        if keys and signer not in believed:
            raise Refused(
                f"The bundle is whole, but signed by another key than you trust: {signer}.",
                "Ask who made it whose key that is.",
            )
    if as_json:
        show.json({"bundle": seal.digest, "trusted": bool(keys), **msgspec.to_builtins(manifest)})
        return
    kinds = Counter(one.kind for one in manifest.contents)
    show.one(
        {
            "bundle": seal.digest,
            "origin": manifest.origin,
            "sequence": manifest.sequence,
            "made": manifest.made,
            "label": manifest.label,
            "signers": list(manifest.signers),
            "signers_trusted": "yes" if keys else "not asked: give --trust",
            "contents": [f"{count} {kind}" for kind, count in kinds.items()],
            "notes": sorted({step.note for step in manifest.custody if step.note}),
        },
        as_json=False,
    )
    click.echo()
    show.table(
        [
            {"path": one.path, "size": one.size, "label": one.label, "licence": one.licence or None}
            for one in manifest.contents
        ],
        ("path", "size", "label", "licence"),
    )


@bundle.command("import")
@show.data_option
@click.argument("file", type=_path)
@show.principal_option
@show.json_option
@click.pass_obj
def bundle_import(obj: dict[str, Any], file: Path, principal: str | None, as_json: bool) -> None:
    """Let the bundle FILE in, if it is whole and two trusted people vouch for it.

    Models are proposed: a second person here approves them. Documents come into collections of
    their names. Policies, adapters and evaluations are placed in the folder `incoming` of the data
    folder for people to look at; nothing of them is in force.
    """
    arguments = {"file": str(file.expanduser().absolute()), "principal": principal}
    steps = line.act(obj["data"], "bundle.import", arguments)
    found = [step for step in _with_progress(steps, "Reading", quiet=as_json) if "done" not in step]
    *outcomes, received = found
    unread = [one for one in outcomes if one["outcome"] == "unread"]
    if as_json:
        show.json({**received, "contents": outcomes})
    else:
        show.one(received, as_json=False)
        click.echo()
        show.table(outcomes, ("kind", "name", "outcome"))
    for one in unread:
        click.echo(f"casemate: {one['name']}: {one['what']} {one['next']}".rstrip(), err=True)
    if unread:
        raise click.exceptions.Exit(1)


@bundle.group("trust")
def trust() -> None:
    """Whose keys count when bundles come in: add, list, remove."""


@trust.command("add")
@show.data_option
@click.argument("name")
@click.argument("key", type=_path)
@show.principal_option
@show.json_option
@click.pass_obj
def trust_add(
    obj: dict[str, Any], name: str, key: Path, principal: str | None, as_json: bool
) -> None:
    """Let the public key in the file KEY count, as that of the person called NAME."""
    arguments = {"name": name, "key": str(key.expanduser().absolute()), "principal": principal}
    (added,) = line.act(obj["data"], "bundle.trust.add", arguments)
    show.one(added, as_json=as_json)


@trust.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def trust_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List the keys that count."""
    show.items(
        line.act(obj["data"], "bundle.trust.list", {"principal": principal}),
        ("name", "key", "since"),
        as_json=as_json,
        empty="No keys. `casemate bundle trust add NAME KEY.pub` adds one.",
    )


@trust.command("remove")
@show.data_option
@click.argument("name")
@show.principal_option
@show.json_option
@click.pass_obj
def trust_remove(obj: dict[str, Any], name: str, principal: str | None, as_json: bool) -> None:
    """Let a key count no more."""
    arguments = {"name": name, "principal": principal}
    (gone,) = line.act(obj["data"], "bundle.trust.remove", arguments)
    show.one(gone, as_json=as_json)


def _with_progress(steps: Iterator[Item], label: str, *, quiet: bool) -> Iterator[Item]:
    if quiet or not sys.stderr.isatty():
        yield from steps
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:
        for step in steps:
            if "total" in step:
                bar.length = max(step["total"], 1)
                bar.update(step["done"] - bar.pos)
            yield step


COMMANDS = (bundle,)

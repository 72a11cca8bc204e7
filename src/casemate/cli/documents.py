"""Commands around documents: add, collection, document."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.acts import Item
from casemate.errors import NotFound
from casemate.library.parse import SUPPORTED


@click.command()
@show.data_option
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--collection", required=True, help="Where to put them; made if there is none.")
@click.option("--label", help="Label of a new collection, e.g. restricted (default: the lowest).")
@show.principal_option
@show.json_option
@click.pass_obj
def add(
    obj: dict[str, Any],
    paths: tuple[str, ...],
    collection: str,
    label: str | None,
    principal: str | None,
    as_json: bool,
) -> None:
    """Put documents in: files, folders, globs. Run again, it goes on where it stopped."""
    found, passed_over = files_of(paths)
    arguments = {
        "files": found,
        "collection": collection,
        "label": label,
        "principal": principal,
    }
    outcomes = line.act(obj["data"], "add", arguments, create=True)
    done = list(_with_progress(outcomes, len(found), quiet=as_json))
    counts = Counter(one["outcome"] for one in done)
    unread = [one for one in done if one["outcome"] == "unread"]
    if as_json:
        show.json(done)
    else:
        said = [
            f"{counts[outcome]} {outcome}"
            for outcome in ("added", "replaced", "unchanged")
            if counts[outcome]
        ]
        if unread:
            said.append(f"{len(unread)} not read")
        click.echo(f"{collection}: {', '.join(said) or 'nothing new'}.")
        if passed_over:
            click.echo(f"Passed over {passed_over} files of kinds that are not read.")
    for one in unread:
        # What a parser says begins with the name already.
        named = "" if one["what"].startswith(one["name"]) else f"{one['name']}: "
        click.echo(f"casemate: {named}{one['what']} {one['next']}".rstrip(), err=True)
    if unread:
        raise click.exceptions.Exit(1)


@click.group()
def collection() -> None:
    """Collections: list, create."""


@collection.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def collection_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List the collections you may read."""
    show.items(
        line.act(obj["data"], "collection.list", {"principal": principal}),
        ("name", "label", "readers"),
        as_json=as_json,
        empty="No collections yet. `casemate add PATH --collection NAME` makes one.",
    )


@collection.command("create")
@show.data_option
@click.argument("name")
@click.option("--label", help="Label of everything in it, e.g. restricted (default: the lowest).")
@click.option(
    "--reader",
    "readers",
    multiple=True,
    help="Who may read it (default: everyone): a principal's name or role:NAME; repeatable.",
)
@click.option(
    "--review",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day to look at the label again (default: some years on, as the country says).",
)
@show.principal_option
@show.json_option
@click.pass_obj
def collection_create(
    obj: dict[str, Any],
    name: str,
    label: str | None,
    readers: tuple[str, ...],
    review: datetime | None,
    principal: str | None,
    as_json: bool,
) -> None:
    """Make an empty collection."""
    arguments = {
        "name": name,
        "label": label,
        "review": None if review is None else f"{review:%Y-%m-%d}T00:00:00Z",
        "readers": list(readers) or None,
        "principal": principal,
    }
    (made,) = line.act(obj["data"], "collection.create", arguments, create=True)
    show.one(made, as_json=as_json)


@click.group()
def document() -> None:
    """Documents: list, show, delete, downgrade."""


@document.command("list")
@show.data_option
@click.option("--collection", help="Only this one.")
@show.principal_option
@show.json_option
@click.pass_obj
def document_list(
    obj: dict[str, Any], collection: str | None, principal: str | None, as_json: bool
) -> None:
    """List the documents you may read."""
    arguments = {"collection": collection, "principal": principal}
    show.items(
        line.act(obj["data"], "document.list", arguments),
        ("id", "collection", "name", "pages", "size", "added"),
        as_json=as_json,
        empty="No documents yet. `casemate add PATH --collection NAME` puts some in.",
    )


@document.command("show")
@show.data_option
@click.argument("document")
@show.principal_option
@show.json_option
@click.pass_obj
def document_show(obj: dict[str, Any], document: str, principal: str | None, as_json: bool) -> None:
    """Show one document's text."""
    arguments = {"document": document, "principal": principal}
    (found,) = line.act(obj["data"], "document.show", arguments)
    if as_json:
        show.json(found)
    else:
        click.echo(found["text"])


@document.command("delete")
@show.data_option
@click.argument("document")
@show.principal_option
@show.json_option
@click.pass_obj
def document_delete(
    obj: dict[str, Any], document: str, principal: str | None, as_json: bool
) -> None:
    """Remove one document for good."""
    arguments = {"document": document, "principal": principal}
    (gone,) = line.act(obj["data"], "document.delete", arguments)
    show.one(gone, as_json=as_json)


@document.group()
def downgrade() -> None:
    """Lower labels, by their originator and a second person: request, approve, reject, list."""


@downgrade.command("request")
@show.data_option
@click.argument("document")
@click.option("--into", required=True, help="The collection, of a lower label, to have it in.")
@click.option("--reason", required=True, help="Why it needs its label no longer.")
@show.principal_option
@show.json_option
@click.pass_obj
def downgrade_request(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """Ask that a document be had under a lower label too."""
    (made,) = line.act(obj["data"], "downgrade.request", arguments)
    show.one(made, as_json=as_json)


@downgrade.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def downgrade_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List downgrades of what you may read, newest first."""
    show.items(
        line.act(obj["data"], "downgrade.list", {"principal": principal}),
        ("id", "state", "name", "before", "after", "into", "requested_by", "reason"),
        as_json=as_json,
        empty="No downgrades.",
    )


def _decide(verb: str, help: str) -> None:
    @downgrade.command(verb, help=help)
    @show.data_option
    @click.argument("id")
    @show.principal_option
    @show.json_option
    @click.pass_obj
    def decide(obj: dict[str, Any], id: str, principal: str | None, as_json: bool) -> None:
        arguments = {"id": id, "principal": principal}
        (decided,) = line.act(obj["data"], f"downgrade.{verb}", arguments)
        show.one(decided, as_json=as_json)


_decide("approve", "Approve, as a second person: a new document is made, the old one stays.")
_decide("reject", "Say no.")


def files_of(paths: tuple[str, ...]) -> tuple[list[tuple[str, str]], int]:
    """(absolute path, name in the collection) of every file meant; how many were passed over."""
    found: dict[str, str] = {}
    passed_over = 0
    for path in paths:
        places = [Path(path)] if Path(path).exists() else [Path(one) for one in _expand(path)]
        if not places:
            raise NotFound(f"There is no file or folder {path}.", "Check the spelling.")
        for place in places:
            if not place.is_dir():
                found.setdefault(str(place.resolve()), place.name)
                continue
            for file in _walk(place):
                if file.suffix.lower() in SUPPORTED:
                    found.setdefault(str(file.resolve()), file.relative_to(place).as_posix())
                else:
                    passed_over += 1
    return sorted(_apart(found).items(), key=lambda one: one[1]), passed_over


def _apart(found: dict[str, str]) -> dict[str, str]:
    """The same files with names that tell them apart: from the folder they have in common."""
    if len(set(found.values())) == len(found):
        return found
    common = os.path.commonpath([os.path.dirname(path) for path in found])
    return {path: Path(path).relative_to(common).as_posix() for path in found}


def _expand(pattern: str) -> list[str]:
    return sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))


def _walk(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.is_file():
            yield file


def _with_progress(outcomes: Iterator[Item], total: int, *, quiet: bool) -> Iterator[Item]:
    if quiet or not sys.stderr.isatty():
        yield from outcomes
        return
    with click.progressbar(outcomes, length=total, label="Reading", file=sys.stderr) as bar:
        yield from bar


COMMANDS = (add, collection, document)

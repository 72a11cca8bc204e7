"""The command that applies a declaration: apply."""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.acts import Item
from casemate.errors import Invalid

_SIGNS = {"done": "✓", "planned": "+", "failed": "✗", "not tried": "·", "unchanged": "="}


@click.command()
@show.data_option
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@show.principal_option
@show.json_option
@click.pass_obj
def apply(
    obj: dict[str, Any], file: Path, dry_run: bool, principal: str | None, as_json: bool
) -> int:
    """Make tenants, people, collections, use cases and policies as FILE (TOML) declares them.

    What FILE does not name is left alone. Applied again, it changes nothing. Use cases and policies
    are proposed; a second person approves them. Exit status 1 if something could not be done.
    """
    arguments = {"declaration": _read(file), "principal": principal}
    act = "plan" if dry_run else "apply"
    found = list(line.act(obj["data"], act, arguments))
    if as_json:
        show.json(found)
    else:
        for change in found:
            for text in _told(change):
                click.echo(text)
        click.echo(_sum(found))
    return 1 if any(change["state"] == "failed" for change in found) else 0


def _told(change: Item) -> Iterator[str]:
    thing = f"{change['kind'].replace('_', ' ')} {change['name']}".replace(
        "policies policies", "policies"
    )
    if change["state"] == "unchanged":
        if change["note"]:
            yield f"= {thing}: as declared. {change['note']}"
        return
    verb = "" if change["act"] == "none" else f"{change['act']} "
    yield f"{_SIGNS[change['state']]} {verb}{thing}: {change['state']}"
    for name, (before, after) in change["diff"].items():
        if change["kind"] == "policies":
            yield from _lines(name, before, after)
        elif before is None:
            yield f"    {name.replace('_', ' ')}: {_plain(after)}"
        else:
            yield f"    {name.replace('_', ' ')}: {_plain(before)} → {_plain(after)}"
    if change["note"]:
        yield show.wrapped(change["note"], "    ", "    ")
    if change["problem"]:
        yield show.wrapped(
            f"{change['problem']['what']} {change['problem']['next']}", "    ", "    "
        )


def _sum(found: Iterable[Item]) -> str:
    counts = Counter(change["state"] for change in found)
    if not counts.keys() - {"unchanged"}:
        return "Nothing to do: all is as declared."
    order = ("planned", "done", "failed", "not tried", "unchanged")
    return ", ".join(f"{counts[state]} {state}" for state in order if counts[state]) + "."


def _lines(name: str, before: str | None, after: str | None) -> Iterator[str]:
    old, new = (before or "").splitlines(), (after or "").splitlines()
    for text in difflib.unified_diff(old, new, name, name, lineterm="", n=1):
        yield f"    {text}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {one}" for name, one in value.items())
    return "none" if value is None else str(value)


def _read(file: Path) -> dict[str, Any]:
    try:
        plain = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"{file.name} is not TOML: {problem}.", "Correct it.") from None
    policies = plain.get("policies")
    if isinstance(policies, dict) and "folder" in policies:
        policies["files"] = _policies(file.parent / str(policies.pop("folder")))
    return plain


def _policies(folder: Path) -> dict[str, str]:
    """The policy files of a folder, which a declaration names relative to its own place."""
    files = sorted(folder.glob("*.cedar"))
    if not files:
        raise Invalid(
            f"There are no policy files in {folder.name!r}.",
            "Name a folder with *.cedar files, beside the declaration.",
        )
    try:
        return {file.name: file.read_text(encoding="utf-8") for file in files}
    except UnicodeDecodeError:
        raise Invalid("A policy file is not UTF-8 text.", "Correct it.") from None


COMMANDS = (apply,)

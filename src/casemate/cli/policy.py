"""Commands around policies, the Cedar files that say who may do what: policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.errors import Invalid

_PATH = click.Path(path_type=Path, exists=True)
_VIA = click.Choice(["session", "key", "certificate", "local"])
_LEVELS = click.Choice(["low", "substantial", "high"])


@click.group()
def policy() -> None:
    """Policies: check, explain, test, list, load, adopt, propose, approve, withdraw."""


@policy.command("check")
@show.data_option
@click.argument("paths", nargs=-1, type=_PATH, metavar="[PATH]...")
@show.json_option
@click.pass_obj
def policy_check(obj: dict[str, Any], paths: Sequence[Path], as_json: bool) -> None:
    """Read policy files or folders of them; say whether they are valid and in force.

    Without PATH: those of the data folder, as they are now.
    """
    (found,) = line.act(obj["data"], "policy.check", {"files": _read(paths)})
    show.one(found, as_json=as_json)


@policy.command("explain")
@show.data_option
@click.argument("name")
@click.argument("action")
@click.argument("resource")
@click.option("--label", help="A label that is at stake too.")
@click.option("--role", "roles", multiple=True, help="As if these were the roles; repeatable.")
@click.option("--clearance", help="As if this were the clearance.")
@click.option("--via", type=_VIA, default="session", help="As if it came in this way.")
@click.option("--assurance", type=_LEVELS, help="As if signed in with this eIDAS level.")
@click.option("--second-factor", is_flag=True, help="As if signed in with two factors.")
@show.principal_option
@show.json_option
@click.pass_obj
def policy_explain(obj: dict[str, Any], /, as_json: bool, **arguments: Any) -> None:
    """What if NAME wanted to do ACTION on RESOURCE? Say whether and why, and do nothing.

    RESOURCE is installation, collection, use_case, model or run, alone or with an id:
    use_case:documents.
    """
    (found,) = line.act(obj["data"], "policy.explain", arguments)
    if as_json:
        show.json(found)
        return
    click.echo("Allowed." if found["allowed"] else "Refused.")
    for reason in found["reasons"]:
        click.echo(show.wrapped(reason, "  ", "- "))


@policy.command("test")
@show.data_option
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--policies", "paths", multiple=True, type=_PATH, help="Others; repeatable.")
@show.json_option
@click.pass_obj
def policy_test(obj: dict[str, Any], file: Path, paths: Sequence[Path], as_json: bool) -> int:
    """Compare what the policies of the data folder decide with what FILE (TOML) expects.

    Exit status 1 if anything differs.
    """
    arguments = {"expected": _text(file), "file": file.name, "files": _read(paths)}
    *different, counts = line.act(obj["data"], "policy.test", arguments)
    if as_json:
        show.json({**counts, "differences": different})
    else:
        for one in different:
            click.echo(f"{one['name']}: {one['what']}")
        click.echo(f"{counts['expected']} expected, {counts['different']} different.")
    return 1 if different else 0


@policy.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def policy_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List the policies in force, and those that are proposed."""
    show.items(
        line.act(obj["data"], "policy.list", {"principal": principal}),
        ("state", "digest", "by", "time", "files"),
        as_json=as_json,
        empty="None.",
    )


@policy.command("load")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def policy_load(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """Put the files of the data folder into force; broken ones change nothing."""
    (found,) = line.act(obj["data"], "policy.load", {"principal": principal})
    show.one(found, as_json=as_json)


@policy.command("adopt")
@show.data_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@show.principal_option
@show.json_option
@click.pass_obj
def policy_adopt(
    obj: dict[str, Any], ids: Sequence[str], principal: str | None, as_json: bool
) -> None:
    """Add policies that came with this version to those of the data folder, and load them.

    A newer version never changes the policies of a data folder by itself. `policy check` lists
    those that it ships and that are not there.
    """
    (found,) = line.act(obj["data"], "policy.adopt", {"ids": list(ids), "principal": principal})
    show.one(found, as_json=as_json)


@policy.command("propose")
@show.data_option
@click.argument("paths", nargs=-1, required=True, type=_PATH, metavar="PATH...")
@show.principal_option
@show.json_option
@click.pass_obj
def policy_propose(
    obj: dict[str, Any], paths: Sequence[Path], principal: str | None, as_json: bool
) -> None:
    """Propose files in place of all that are in force, for an owner to approve."""
    arguments = {"files": _read(paths), "principal": principal}
    (made,) = line.act(obj["data"], "policy.propose", arguments)
    show.one(made, as_json=as_json)


def _decide(verb: str, help: str) -> None:
    @policy.command(verb, help=help)
    @show.data_option
    @click.argument("digest")
    @show.principal_option
    @show.json_option
    @click.pass_obj
    def decide(obj: dict[str, Any], digest: str, principal: str | None, as_json: bool) -> None:
        arguments = {"digest": digest, "principal": principal}
        (found,) = line.act(obj["data"], f"policy.{verb}", arguments)
        show.one(found, as_json=as_json)


for _verb, _help in (
    ("approve", "Approve the proposed policies with this digest, as a second person."),
    ("withdraw", "Take the proposed policies with this digest back."),
):
    _decide(_verb, _help)


def _read(paths: Sequence[Path]) -> dict[str, str] | None:
    files: dict[str, str] = {}
    for path in paths:
        for file in sorted(path.glob("*.cedar")) if path.is_dir() else [path]:
            if file.name in files:
                raise click.UsageError(f"Two files are called {file.name}.")
            files[file.name] = _text(file)
    return files if paths else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"{file.name} is not UTF-8 text.", "Correct it.") from None


COMMANDS = (policy,)

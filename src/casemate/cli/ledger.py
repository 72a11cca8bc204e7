"""Commands on the ledger: what an auditor looks at, and what a SIEM takes in."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

from casemate.cli import line, show
from casemate.cli.acts import Item
from casemate.cli.consistency import consistency

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = (("index", 7), ("time", 20), ("kind", 20), ("use_case", 14), ("by", 0))


def _period_options(command: F) -> F:
    """Let a command be bounded in time."""
    for option in (
        click.option(
            "--thorough",
            is_flag=True,
            help="Read every entry, in case the clock was ever set back by minutes or more.",
        ),
        click.option("--until", metavar="TIME", help="Not after this ISO 8601 date or time (UTC)."),
        click.option(
            "--since", metavar="TIME", help="Not before this ISO 8601 date or time (UTC)."
        ),
    ):
        command = option(command)
    return command


@click.group()
def ledger() -> None:
    """The ledger: key, rotate, checkpoint, check, show, search, export, consistency."""


@ledger.command("key")
@show.data_option
@show.json_option
@click.pass_obj
def ledger_key(obj: dict[str, Any], as_json: bool) -> None:
    """Print the verifying key, as one vkey line; two while the ledger changes its key.

    With --json also the keys that signed once.
    """
    (found,) = line.act(obj["data"], "ledger.key", {})
    if as_json:
        show.json(found)
    else:
        _print_keys(found)


@ledger.group("rotate")
def rotate() -> None:
    """Change the ledger's key: begin, then finish or cancel."""


@rotate.command("begin")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def rotate_begin(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """Make a new key that signs beside the current one from now on."""
    found = _rotate(obj, "begin", principal)
    if as_json:
        show.json(found)
        return
    _print_keys(found)
    click.echo(
        "Both keys sign from now on. Give the second to auditors and witnesses; when all of them "
        "have it, `casemate ledger rotate finish`.",
        err=True,
    )


@rotate.command("finish")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def rotate_finish(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """Let the new key sign alone; the old one still proves what it signed."""
    found = _rotate(obj, "finish", principal)
    if as_json:
        show.json(found)
        return
    _print_keys(found)
    click.echo(
        "The new key signs alone. Keep the old verifying key: receipts from before need it.",
        err=True,
    )


@rotate.command("cancel")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def rotate_cancel(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """Give the new key up; the current one signs alone again."""
    found = _rotate(obj, "cancel", principal)
    if as_json:
        show.json(found)
    else:
        _print_keys(found)


def _rotate(obj: dict[str, Any], step: str, principal: str | None) -> Item:
    (found,) = line.act(obj["data"], "ledger.rotate", {"step": step, "principal": principal})
    return found


def _print_keys(found: Item) -> None:
    click.echo(found["vkey"])
    if found["next"] is not None:
        click.echo(found["next"])


@ledger.command("checkpoint")
@show.data_option
@click.pass_obj
def ledger_checkpoint(obj: dict[str, Any]) -> None:
    """Print the signed checkpoint: keep it, and compare it with a later one."""
    (found,) = line.act(obj["data"], "ledger.checkpoint", {})
    click.echo(found["checkpoint"], nl=False)


@ledger.command("check")
@show.data_option
@show.json_option
@click.pass_obj
def ledger_check(obj: dict[str, Any], as_json: bool) -> None:
    """Re-hash the whole log from its bundles and compare every tile."""
    wanted = sys.stderr.isatty() and not as_json
    steps = line.act(obj["data"], "ledger.check", {"progress": wanted})
    found: Item = {}
    for step in _with_progress(steps) if wanted else steps:
        found = step
    if as_json:
        show.json(found)
    else:
        click.echo(f"{found['entries']:,} entries of {found['origin']}, every byte as signed.")


@ledger.command("show")
@show.data_option
@click.argument("index", type=click.IntRange(0))
@click.option("--proof", is_flag=True, help="Print its tlog-proof text alone.")
@click.option("--raw", is_flag=True, help="Print its exact bytes alone.")
@show.json_option
@click.pass_obj
def ledger_show(obj: dict[str, Any], index: int, proof: bool, raw: bool, as_json: bool) -> None:
    """Print one entry, as JSON; with --json, --proof and --raw are fields of it."""
    if proof and raw and not as_json:
        raise click.UsageError("Give --proof or --raw, or --json with both.")
    alone = raw and not as_json
    asked = {"index": index, "proof": proof, "raw": alone}
    (found,) = line.act(obj["data"], "ledger.show", asked)
    if alone:
        click.echo(base64.b64decode(found["bytes"]), nl=False)
    elif proof and not as_json:
        click.echo(found["proof"], nl=False)
    else:
        hidden = set() if raw else {"bytes"}
        order = ("index", "entry", "leaf", "bytes", "proof")
        show.json({name: found[name] for name in order if name in found and name not in hidden})


@ledger.command("search")
@show.data_option
@_period_options
@click.option("--kind", help="run.finished, documents.added, …; or the first word: run.")
@click.option(
    "--principal", metavar="WHO", help="Pseudonym, or a name if you may know whose it is."
)
@click.option("--use-case", metavar="ID")
@click.option("--model", metavar="ID", help="Its id, or the digest of its manifest.")
@click.option(
    "--decision", metavar="WHAT", help="allow, refuse, approved, rejected, or a policy's id."
)
@click.option("--run", metavar="ID")
@click.option("--outcome", help="answered, unanswered, failed or refused.")
@click.option("--label", metavar="L")
@click.option("--limit", type=click.IntRange(1), help="Only the newest so many.")
@show.json_option
@click.pass_obj
def ledger_search(
    obj: dict[str, Any],
    /,
    as_json: bool,
    since: str | None,
    until: str | None,
    thorough: bool,
    limit: int | None,
    **fields: Any,
) -> None:
    """List the entries that fit, newest last.

    A date is a whole day, a time without a zone is UTC. A principal is found as who asked, who
    acted, or whom an entry is about.
    """
    asked = {
        "fields": fields,
        "since": since,
        "until": until,
        "limit": limit,
        "thorough": thorough,
    }
    found = line.act(obj["data"], "ledger.search", asked)
    if as_json:
        _print_array(found)
    else:
        _print_rows(found)


@ledger.command("export")
@show.data_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "ocsf", "cef"]),
    default="jsonl",
    show_default=True,
    help="Exact bytes, OCSF 1.3.0 events, or CEF:0 lines.",
)
@_period_options
@click.option(
    "--from-index",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Go on at this entry: one more than the last that was exported.",
)
@click.pass_obj
def ledger_export(
    obj: dict[str, Any],
    format_: str,
    since: str | None,
    until: str | None,
    thorough: bool,
    from_index: int,
) -> None:
    """Print the entries, one a line: with their exact bytes, or for a SIEM."""
    asked = {
        "format": format_,
        "since": since,
        "until": until,
        "thorough": thorough,
        "from_index": from_index,
    }
    for piece in line.act(obj["data"], "ledger.export", asked):
        click.echo(piece["lines"], nl=False)


ledger.add_command(consistency)


def _with_progress(steps: Iterator[Item]) -> Iterator[Item]:
    with click.progressbar(length=1, label="Checking", file=sys.stderr) as bar:
        for step in steps:
            if "total" in step:
                bar.length = max(step["total"], 1)
                bar.update(step["done"] - bar.pos)
            yield step


def _print_array(found: Iterable[Item]) -> None:
    """A JSON array, item by item, so that none of them waits for the last."""
    import msgspec

    before = "["
    for one in found:
        click.echo(f"{before}\n{msgspec.json.encode(one).decode()}", nl=False)
        before = ","
    click.echo("[]" if before == "[" else "\n]")


def _print_rows(found: Iterable[Item]) -> None:
    """A table of fixed widths, row by row."""
    title = "  ".join(name.replace("_", " ").ljust(width) for name, width in _COLUMNS)
    none = True
    for one in found:
        entry = one["entry"]
        row = {**entry, "index": one["index"]}
        row["by"] = entry.get("actor") or entry.get("principal")
        if none:
            click.echo(title.rstrip())
            none = False
        cells = (_cell(row.get(name)).ljust(width) for name, width in _COLUMNS)
        click.echo("  ".join(cells).rstrip())
    if none:
        click.echo("No such entries.")


def _cell(value: object) -> str:
    return "–" if value is None else str(value)

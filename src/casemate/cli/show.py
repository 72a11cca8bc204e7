"""Showing: data as JSON for programs, as a table or lines for people."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click
import msgspec

from casemate.cli.acts import Item

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def data_option(command: F) -> F:
    """Let a command take --data itself, as well as before its name."""

    def keep(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            from pathlib import Path

            context.obj["data"] = Path(value).expanduser()

    return click.option(
        "--data", expose_value=False, callback=keep, help="Folder that holds everything."
    )(command)


def principal_option(command: F) -> F:
    """Let the owner act as somebody else."""
    return click.option(
        "--principal", help="Act as this principal (default: the owner); the ledger shows it."
    )(command)


def json(value: object) -> None:
    """Print ``value`` as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def items(found: Iterable[Item], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print a list: as a JSON array, as a table, or what to do when there is nothing."""
    rows = list(found)
    if as_json:
        json(rows)
    elif not rows:
        click.echo(empty)
    else:
        table(rows, columns)


def table(rows: Sequence[Item], columns: Sequence[str]) -> None:
    """Print a table with aligned columns."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    titles = [column.replace("_", " ") for column in columns]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    for line in (titles, *cells):
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def one(item: Item, *, as_json: bool) -> None:
    """Print one thing: as a JSON object or a line for each field."""
    if as_json:
        json(item)
        return
    width = max(map(len, item))
    for name, value in item.items():
        click.echo(f"{name.replace('_', ' ').ljust(width)}  {_cell(value)}")


def wrapped(text: str, indent: str = "", first: str | None = None) -> str:
    """``text`` wrapped to the terminal, each of its lines on its own."""
    width = min(shutil.get_terminal_size().columns, 88)
    lines = text.splitlines() or [""]
    return "\n".join(
        textwrap.fill(
            line,
            width,
            initial_indent=indent if number or first is None else first,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for number, line in enumerate(lines)
    )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return msgspec.json.encode(value).decode()
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)

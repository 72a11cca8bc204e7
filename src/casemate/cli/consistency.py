"""The command that compares two checkpoints of a log: `casemate ledger consistency`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from casemate.cli import line, show
from casemate.errors import Invalid, NotFound

if TYPE_CHECKING:
    from casemate.ledger.consistency import Held

CURRENT, STDIN = "current", "-"


@click.command("consistency")
@show.data_option
@click.argument("old", required=False)
@click.argument("new", required=False)
@click.option("--key", type=click.Path(path_type=Path), help="The log's vkey line.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A copy of the log: its checkpoint and tiles (default: this data folder's).",
)
@click.option(
    "--proof",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Hashes that --make wrote, instead of a log.",
)
@click.option("--make", nargs=2, type=click.IntRange(0), metavar="OLDSIZE NEWSIZE")
@click.option("--out", type=click.Path(path_type=Path), help="File for what --make prints.")
@show.json_option
@click.pass_obj
def consistency(
    obj: dict[str, Any],
    old: str | None,
    new: str | None,
    key: Path | None,
    source: Path | None,
    proof: Path | None,
    make: tuple[int, int] | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Check that the log behind checkpoint NEW only appends to the one behind OLD.

    OLD and NEW are files, “-” for standard input, or “current” for the log's present checkpoint.
    Both signatures are checked with --key. Where the two cannot both be true, the log has shown
    two histories, and this exits with 1. With --make, write the hashes that somebody without the
    log needs.
    """
    if make is not None:
        if old or new or key or source or proof:
            raise click.UsageError("--make stands alone.")
        _make(obj["data"], make, out)
        return
    if old is None or new is None or key is None:
        raise click.UsageError("Give OLD, NEW and --key, or --make OLDSIZE NEWSIZE.")
    if source is not None and proof is not None:
        raise click.UsageError("Give --from or --proof, not both.")
    if old == new == STDIN:
        raise click.UsageError("Standard input holds one checkpoint.")
    if str(source or "").startswith(("http:", "https:")):
        raise Invalid(
            "A copy of the log is a folder here; nothing is fetched.",
            "Copy the log's tiles, or ask for a --proof FILE.",
        )
    _compare(obj["data"], (old, new), key, source, proof, as_json=as_json)


def _make(data: Path, sizes: tuple[int, int], out: Path | None) -> None:
    (found,) = line.act(data, "ledger.consistency", {"sizes": list(sizes)})
    if out is None:
        click.echo(found["proof"], nl=False)
        return
    try:
        out.write_text(found["proof"], encoding="ascii")
    except OSError as problem:
        raise Invalid(
            f"{out} cannot be written: {problem.strerror}.", "Choose another name."
        ) from None


def _compare(
    data: Path,
    names: tuple[str, str],
    key: Path,
    source: Path | None,
    proof: Path | None,
    *,
    as_json: bool,
) -> None:
    from casemate.ledger import consistency as ledger
    from casemate.ledger.note import NoteError, Verifier

    try:
        lines = _read(key).decode("utf-8").removesuffix("\n").split("\n")
        verifiers = [Verifier.parse(line) for line in lines]
    except (NoteError, UnicodeDecodeError) as problem:
        raise Invalid(f"{key} is no verifying key: {problem}.", "Ask for the vkey line.") from None
    raw = [_checkpoint(data, name, source) for name in names]
    old, new = (
        ledger.open_checkpoint(name, one, *verifiers) for name, one in zip(names, raw, strict=True)
    )
    try:
        if ledger.compare_sizes(old, new):
            hashes = 0
        elif proof is not None:
            given = ledger.parse_proof(_read(proof))
            ledger.compare(old, new, given)
            hashes = len(given)
        elif source is not None:
            copy = ledger.Copy.folder(source, *verifiers)
            hashes = len(ledger.compare_with_copy(old, new, copy))
        else:
            hashes = _ask(data, raw, [old, new], lines)
    except ledger.TwoHistories as problem:
        if as_json:
            show.json({"consistent": False, "two_histories": True, "reason": problem.what})
            raise click.exceptions.Exit(1) from None
        raise
    _print_verdict(old, new, hashes, as_json=as_json)


def _ask(data: Path, raw: list[bytes], held: list[Held], vkeys: list[str]) -> int:
    """Let the log of the data folder compare."""
    from casemate.ledger.consistency import TwoHistories

    asked = {
        "vkeys": vkeys,
        **{
            which: {"name": one.name, "note": note.decode("utf-8")}
            for which, one, note in zip(("old", "new"), held, raw, strict=True)
        },
    }
    (found,) = line.act(data, "ledger.consistency", asked)
    if "two_histories" in found:
        raise TwoHistories(found["two_histories"], found["next"])
    return int(found["hashes"])


def _print_verdict(old: Held, new: Held, hashes: int, *, as_json: bool) -> None:
    if as_json:
        sides = {
            which: {"size": one.checkpoint.size, "root": one.root}
            for which, one in (("old", old), ("new", new))
        }
        show.json({"consistent": True, "origin": old.checkpoint.origin, **sides, "hashes": hashes})
        return
    origin = old.checkpoint.origin
    if old.checkpoint.size == new.checkpoint.size:
        said = (
            f"Both checkpoints of {origin} are the same: {old.checkpoint.size:,} entries, one root."
        )
    else:
        said = (
            f"{origin} only grew: its first {old.checkpoint.size:,} of "
            f"{new.checkpoint.size:,} entries are those that it signed before."
        )
    click.echo(show.wrapped(said))


def _checkpoint(data: Path, name: str, source: Path | None) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read(1 << 20)
    if name != CURRENT:
        return _read(Path(name))
    if source is not None:
        return _read(source / "checkpoint")
    (found,) = line.act(data, "ledger.checkpoint", {})
    return str(found["checkpoint"]).encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise NotFound(f"{path} cannot be read: {problem.strerror}.", "Check the name.") from None

"""Commands around models: from somebody's files to a model in use, and who vouches for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.cli.acts import Item
from casemate.cli.pull import pull
from casemate.errors import Invalid

_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_folder = click.Path(path_type=Path, exists=True, file_okay=False)
_COLUMNS = ("id", "state", "engine", "label", "digest")


@click.group()
def model() -> None:
    """Models: from files to approval, and who vouches for them.

    A model that lies here comes in with `import`, a remote one with `propose`; a second person
    approves it.
    """


@model.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def model_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List models."""
    show.items(
        line.act(obj["data"], "model.list", {"principal": principal}),
        _COLUMNS,
        as_json=as_json,
        empty="No models.",
    )


@model.command("show")
@show.data_option
@click.argument("id")
@show.principal_option
@show.json_option
@click.pass_obj
def model_show(obj: dict[str, Any], id: str, principal: str | None, as_json: bool) -> None:
    """Show all that is known of one model."""
    (found,) = line.act(obj["data"], "model.show", {"id": id, "principal": principal})
    show.one(found, as_json=as_json)


@model.command("profiles")
@show.json_option
def model_profiles(as_json: bool) -> None:
    """List the profiles that come with Casemate: how known models want to be spoken to."""
    from casemate.models.profile import known_profiles

    show.items(
        (
            {
                "name": name,
                "template": known.profile.template,
                "thinking": known.profile.thinking,
                "title": known.title,
            }
            for name, known in known_profiles().items()
        ),
        ("name", "template", "thinking", "title"),
        as_json=as_json,
        empty="No profiles.",
    )


@model.command("propose")
@show.data_option
@click.argument("manifest", type=_file)
@show.principal_option
@show.json_option
@click.pass_obj
def model_propose(
    obj: dict[str, Any], manifest: Path, principal: str | None, as_json: bool
) -> None:
    """Propose a remote model by its manifest, a TOML file.

    It holds name, version, engine (remote), architecture, licence, origin, intended_use, limits,
    label, address (https://host/v1; or addresses, of several servers) and upstream (what they call
    the model).
    """
    arguments = {"manifest": _text(manifest, "The manifest"), "principal": principal}
    (made,) = line.act(obj["data"], "model.propose", arguments)
    show.one(made, as_json=as_json)


@model.command("import")
@show.data_option
@click.argument("folder")
@click.option("--name", help="Its name here (default: as its manifest says).")
@click.option("--profile", help="How it wants to be spoken to; `casemate model profiles`.")
@click.option("--manifest", type=_file, help="In place of manifest.toml in the folder.")
@click.option("--signature", type=_file, help="Signature of the files (default: model.sig there).")
@show.principal_option
@show.json_option
@click.pass_obj
def model_import(
    obj: dict[str, Any],
    folder: str,
    name: str | None,
    profile: str | None,
    manifest: Path | None,
    signature: Path | None,
    principal: str | None,
    as_json: bool,
) -> None:
    """Take in the model in FOLDER, for a second person to approve; `nano` is one that comes along.

    FOLDER holds GGUF or safetensors weights, what belongs to them, and manifest.toml (or .json):
    name, version, intended_use, limits, label, and where its profile does not say them
    architecture, licence and origin; weights, tokenizer, adapters and files name every file.
    Optional: profile, evaluation, context_length, release, lineage, and made_from: the labels of
    training data, adapters and other models in it, which its own has to dominate. It has to be
    signed by somebody that this installation believes (`casemate model trust`).
    """
    arguments = {
        "folder": folder if folder == "nano" else _absolute(_folder_there(folder)),
        "name": name,
        "profile": profile,
        "manifest": _absolute(manifest) if manifest else None,
        "signature": _absolute(signature) if signature else None,
        "principal": principal,
    }
    last: Item = {}
    steps = line.act(obj["data"], "model.import", arguments)
    for item in _with_progress(steps, "Importing", quiet=as_json):
        last = item
    show.one(last, as_json=as_json)


def _move(verb: str, help: str) -> None:
    @model.command(verb, help=help)
    @show.data_option
    @click.argument("id")
    @show.principal_option
    @show.json_option
    @click.pass_obj
    def move(obj: dict[str, Any], id: str, principal: str | None, as_json: bool) -> None:
        arguments = {"id": id, "principal": principal}
        (moved,) = line.act(obj["data"], f"model.{verb}", arguments)
        show.one(moved, as_json=as_json)


_move("approve", "Approve a model, as a second person; its files are read again first.")
_move("withdraw", "Withdraw a model for good. Its files stay, as evidence.")


@model.command("check")
@show.data_option
@click.argument("id", required=False)
@show.principal_option
@show.json_option
@click.pass_obj
def model_check(obj: dict[str, Any], id: str | None, principal: str | None, as_json: bool) -> None:
    """Read the files of a model, or of all in use, and compare them with what was approved."""
    found = list(line.act(obj["data"], "model.check", {"id": id, "principal": principal}))
    columns = ("id", "state", "intact", "files_checked")
    show.items(found, columns, as_json=as_json, empty="No model has files here.")
    altered = [one for one in found if not one["intact"]]
    for one in altered:
        click.echo(f"casemate: {one['what']} {one['next']}", err=True)
    if altered:
        raise click.exceptions.Exit(1)


@model.command("bom")
@show.data_option
@click.argument("id")
@click.option("--out", type=click.Path(path_type=Path), help="File to write (default: print it).")
@show.principal_option
@click.pass_obj
def model_bom(obj: dict[str, Any], id: str, out: Path | None, principal: str | None) -> None:
    """Write the bill of materials of a model: CycloneDX 1.7, JSON."""
    (made,) = line.act(obj["data"], "model.bom", {"id": id, "principal": principal})
    if out is None:
        click.echo(made["text"], nl=False)
        return
    _write(out, made["text"].encode())
    click.echo(f"Bill of materials of {id}: {out}")


@model.command("sign")
@click.argument("folder", type=_folder)
@click.option("--key", type=_file, required=True, help="Private key, PEM (P-256, P-384, P-521).")
@click.option(
    "--certificate",
    "certificates",
    type=_file,
    multiple=True,
    help="Certificate of the key, then each that it rests on; PEM, repeatable.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@show.json_option
def model_sign(
    folder: Path, key: Path, certificates: tuple[Path, ...], out: Path, as_json: bool
) -> None:
    """Sign every file of a model, its manifest.toml among them, as OpenSSF Model Signing does."""
    from casemate.models.importing import Contents, Order
    from casemate.models.signature import sign

    # The place of a signature that is there already is no part of what is signed.
    old = out if out.is_file() else None
    contents = Contents.of(Order(folder, signature=old))
    digests = _digests(folder, dict(contents.sizes), quiet=as_json)
    _write(out, sign(digests, contents.description.name, key, certificates))
    show.one({"signature": str(out), "files": len(digests)}, as_json=as_json)


@model.command("verify")
@click.argument("folder", type=_folder)
@click.option("--signature", type=_file, required=True)
@click.option("--key", type=_file, help="Public key, PEM.")
@click.option("--certificates", type=_file, help="Certificate that the signer's rests on, PEM.")
@show.json_option
def model_verify(
    folder: Path, signature: Path, key: Path | None, certificates: Path | None, as_json: bool
) -> None:
    """Check who signed the files of a model. Needs no data folder and no network."""
    from casemate.models.importing import Contents, Order, small
    from casemate.models.signature import LONGEST, Signer, verify

    chosen = key or certificates
    if chosen is None or (key and certificates):
        raise click.UsageError("Give either --key or --certificates.")
    signer = Signer.parse(chosen.name, small(chosen, "The key", 1 << 20))
    contents = Contents.of(Order(folder, signature=signature))
    digests = _digests(folder, dict(contents.sizes), quiet=as_json)
    verify(small(signature, "The signature", LONGEST), digests, [signer])
    found = {"files": len(digests), "kind": signer.kind, "fingerprint": signer.fingerprint}
    if not as_json:
        click.echo("Signed by this signer, every file as it was signed.")
    show.one(found, as_json=as_json)


@model.group("trust")
def trust() -> None:
    """Whom this installation believes when they sign a model: add, list, remove."""


@trust.command("add")
@show.data_option
@click.argument("name")
@click.argument("file", type=_file)
@show.principal_option
@show.json_option
@click.pass_obj
def trust_add(
    obj: dict[str, Any], name: str, file: Path, principal: str | None, as_json: bool
) -> None:
    """Believe a signer by the public key or the certificate in FILE (PEM)."""
    arguments = {"name": name, "pem": _text(file, "The key"), "principal": principal}
    (made,) = line.act(obj["data"], "model.trust.add", arguments)
    show.one(made, as_json=as_json)


@trust.command("list")
@show.data_option
@show.principal_option
@show.json_option
@click.pass_obj
def trust_list(obj: dict[str, Any], principal: str | None, as_json: bool) -> None:
    """List whom this installation believes."""
    show.items(
        line.act(obj["data"], "model.trust.list", {"principal": principal}),
        ("name", "kind", "fingerprint"),
        as_json=as_json,
        empty="Nobody yet. `casemate model trust add NAME PUB.pem` trusts somebody.",
    )


@trust.command("remove")
@show.data_option
@click.argument("name")
@show.principal_option
@show.json_option
@click.pass_obj
def trust_remove(obj: dict[str, Any], name: str, principal: str | None, as_json: bool) -> None:
    """Stop believing a signer: what only they signed is not loaded any more."""
    arguments = {"name": name, "principal": principal}
    (gone,) = line.act(obj["data"], "model.trust.remove", arguments)
    show.one({**gone, "state": "removed"}, as_json=as_json)


def _folder_there(folder: str) -> Path:
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise click.BadParameter(f"There is no folder {folder!r}.", param_hint="FOLDER")
    return place


def _absolute(place: Path) -> str:
    return os.path.abspath(place)


def _text(place: Path, what: str) -> str:
    try:
        return place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Invalid(f"{what} cannot be read as UTF-8 text.", "Check the file.") from None


def _write(place: Path, content: bytes) -> None:
    try:
        place.write_bytes(content)
    except OSError as problem:
        raise Invalid(
            f"{place} cannot be written: {problem.strerror}.", "Choose another."
        ) from None


def _digests(folder: Path, sizes: dict[str, int], *, quiet: bool) -> dict[str, str]:
    """Digests of the files of a folder, which must all be what they seem."""
    from casemate.models import formats, weights

    total, done = sum(sizes.values()), 0
    found: dict[str, str] = {}

    def steps() -> Iterator[Item]:
        nonlocal done
        for step in weights.digests(folder, sizes):
            if isinstance(step, dict):
                found.update(step)
                continue
            done += step
            yield {"done": done, "total": total}

    for path in sizes:
        formats.check(folder / path, path)
    for _step in _with_progress(steps(), "Reading", quiet=quiet):
        pass
    return found


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


model.add_command(pull)

COMMANDS = (model,)

"""Commands around client certificates: certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from casemate.cli import line, show
from casemate.errors import Invalid


@click.group()
def certificate() -> None:
    """Client certificates that services come with: bind, list, lists, unbind."""


@certificate.command("bind")
@show.data_option
@click.argument("name")
@click.option("--file", type=click.Path(path_type=Path), help="This certificate (PEM or DER).")
@click.option("--thumbprint", help="The certificate with this SHA-256.")
@click.option("--subject", help="Certificates with this subject: CN=…,O=…,C=….")
@click.option("--dns", help="Certificates with this DNS name.")
@click.option("--uri", help="Certificates with this URI, for instance a SPIFFE ID.")
@click.option("--email", help="Certificates with this e-mail address.")
@click.option("--use-case", help="The only use case it may be used for.")
@show.json_option
@click.pass_obj
def certificate_bind(
    obj: dict[str, Any],
    name: str,
    file: Path | None,
    thumbprint: str | None,
    subject: str | None,
    dns: str | None,
    uri: str | None,
    email: str | None,
    use_case: str | None,
    as_json: bool,
) -> None:
    """Let who comes with a certificate be the service NAME. Names need `tls_client_ca`."""
    ways = (
        ("thumbprint", _thumbprint(file) if file else None),
        ("thumbprint", thumbprint),
        ("subject", subject),
        ("dns", dns),
        ("uri", uri),
        ("email", email),
    )
    given = [(kind, value) for kind, value in ways if value is not None]
    if len(given) != 1:
        raise click.UsageError("Say in one way which certificate: --file, --thumbprint, --subject…")
    ((kind, value),) = given
    arguments = {"name": name, "kind": kind, "value": value, "use_case": use_case}
    (made,) = line.act(obj["data"], "certificate.bind", arguments)
    show.one(made, as_json=as_json)


@certificate.command("list")
@show.data_option
@show.json_option
@click.pass_obj
def certificate_list(obj: dict[str, Any], as_json: bool) -> None:
    """List what services are bound to."""
    show.items(
        line.act(obj["data"], "certificate.list", {}),
        ("id", "principal", "use_case", "kind", "value", "created", "revoked"),
        as_json=as_json,
        empty="No certificates yet. `casemate certificate bind NAME` binds a service to one.",
    )


@certificate.command("lists")
@show.data_option
@show.json_option
@click.pass_obj
def certificate_lists(obj: dict[str, Any], as_json: bool) -> None:
    """Show the revocation lists that are read, and whether each can be used now."""
    show.items(
        line.act(obj["data"], "certificate.lists", {}),
        ("issuer", "since", "until", "revoked", "usable"),
        as_json=as_json,
        empty="No lists are read. The setting `tls_client_crl` names a file of them.",
    )


@certificate.command("unbind")
@show.data_option
@click.argument("id")
@show.json_option
@click.pass_obj
def certificate_unbind(obj: dict[str, Any], id: str, as_json: bool) -> None:
    """End a binding."""
    (gone,) = line.act(obj["data"], "certificate.unbind", {"id": id})
    show.one(gone, as_json=as_json)


def _thumbprint(file: Path) -> str:
    from cryptography import x509

    from casemate.gate.certificate import thumbprint_of

    content = file.read_bytes()
    pem = b"-----BEGIN" in content
    try:
        load = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
        return thumbprint_of(load(content))
    except ValueError:
        raise Invalid("That file holds no certificate.", "Give one in PEM or DER form.") from None


COMMANDS = (certificate,)

"""Settings: what an operator may choose, read once at start.

Order, later wins: the defaults here, ``settings.toml`` in the data folder, ``CASEMATE_…``
variables, options on the command line. An unknown name is refused, so a typo never passes.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from casemate.errors import Invalid

FILE = "settings.toml"
MOST_WORKERS = 64
_PREFIX = "CASEMATE_"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting with its default; ``describe`` lists them for people."""

    host: Annotated[str, Meta(description="Address the server listens on.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port the server listens on; 0 picks a free one.")
    ] = 8470
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_WORKERS,
            description="Processes that accept clients; 1: the one that owns the data folder. "
            "More answer more questions to model servers, on a machine with many cores.",
        ),
    ] = 1
    public_url: Annotated[
        str,
        Meta(description="Address people reach the server under, when a proxy stands before it."),
    ] = ""
    tls_certificate: Annotated[
        str,
        Meta(description="PEM file of the server's certificate; empty: plain HTTP, for a proxy."),
    ] = ""
    tls_key: Annotated[
        str, Meta(description="PEM file of its private key, if that is not in the same file.")
    ] = ""
    tls_client_ca: Annotated[
        str,
        Meta(description="PEM file of the authorities that issue client certificates to services."),
    ] = ""
    tls_client_crl: Annotated[
        str,
        Meta(
            description="PEM file of the revocation lists of those authorities; it is read again "
            "whenever it changes. Empty: none is asked for."
        ),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Addresses or networks, with commas between, of the proxies whose headers "
            "Client-Cert and X-Forwarded-For are believed; empty for none."
        ),
    ] = ""
    country: Annotated[str, Meta(description="Country pack: label policy, languages, duties.")] = (
        "lu"
    )
    origin: Annotated[
        str,
        Meta(
            max_length=200,
            description="Name of the ledger, a host or path you control; fixed at first start.",
        ),
    ] = ""
    ledger: Annotated[
        str,
        Meta(description="Where the ledger's files lie: empty for the data folder, or s3://…"),
    ] = ""
    ledger_endpoint: Annotated[
        str,
        Meta(description="Server of the bucket in `ledger`: https://… or, inside, http://…"),
    ] = ""
    blobs: Annotated[
        str,
        Meta(description="Where documents' originals lie: empty for the data folder, or s3://…"),
    ] = ""
    blobs_endpoint: Annotated[
        str,
        Meta(description="Server of the bucket in `blobs`: https://… or, inside, http://…"),
    ] = ""
    identity_providers: Annotated[
        str,
        Meta(
            description="TOML file of the OpenID Connect and SAML providers that people may sign "
            "in with; empty for none."
        ),
    ] = ""
    relay_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="Port on loopback of the relay to buckets; 0 picks a free one. Rules for "
            "the kernel need a fixed one.",
        ),
    ] = 0
    link_minutes: Annotated[
        int, Meta(ge=1, le=1440, description="Minutes for which a sign-in link works, once.")
    ] = 30
    session_hours: Annotated[
        int, Meta(ge=1, le=720, description="Hours after which a person signs in again.")
    ] = 12
    session_idle_minutes: Annotated[
        int,
        Meta(ge=1, le=43_200, description="Minutes without a request after which a session ends."),
    ] = 60
    question_characters: Annotated[
        int,
        Meta(ge=100, le=1_000_000, description="Longest question to documents that is accepted."),
    ] = 8_000
    message_characters: Annotated[
        int,
        Meta(
            ge=100,
            le=1_000_000,
            description="Longest message that is put to a model where no documents are searched.",
        ),
    ] = 1_000_000
    upload_mebibytes: Annotated[
        int, Meta(ge=1, le=4096, description="Largest document that is accepted, in MiB.")
    ] = 200
    concurrent_runs: Annotated[
        int, Meta(ge=1, le=10_000, description="Runs one principal may have open at a time.")
    ] = 16
    waiting_runs: Annotated[
        int,
        Meta(ge=8, le=100_000, description="Runs that may wait for one model; more are refused."),
    ] = 256
    run_rounds: Annotated[
        int,
        Meta(ge=1, le=64, description="Times a model may think and write in a run, searching."),
    ] = 4
    run_seconds: Annotated[
        int, Meta(ge=1, le=86_400, description="Seconds a model may take for a run.")
    ] = 600
    model_aliases: Annotated[
        dict[str, str],
        Meta(
            description="Other names for model ids, for programs with a fixed one: "
            "name = id; as a variable, a JSON object."
        ),
    ] = {}
    batch_runs: Annotated[
        int, Meta(ge=1, le=256, description="Lines of batches that are answered at a time.")
    ] = 2
    model_slots: Annotated[
        int, Meta(ge=1, le=256, description="Answers one model that runs here writes at a time.")
    ] = 4
    remote_connect_seconds: Annotated[
        float, Meta(gt=0, le=60, description="Seconds until a model server is connected to.")
    ] = 5.0
    remote_first_token_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Seconds from then until the first token of a stream: queue and prompt.",
        ),
    ] = 120.0
    remote_between_tokens_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds for which it may fall silent after that.")
    ] = 60.0
    remote_answer_seconds: Annotated[
        float, Meta(gt=0, le=86_400, description="Seconds that a model server's whole answer has.")
    ] = 600.0
    repeatable_runs: Annotated[
        bool,
        Meta(
            description="A model here writes each answer alone, so that a replay gives the same "
            "tokens; off: side by side, which is faster for many and can change a token."
        ),
    ] = True
    log: Annotated[
        Literal["text", "json"],
        Meta(description="How the server writes its log, to standard error: lines or JSON."),
    ] = "text"
    access_log: Annotated[
        bool,
        Meta(
            description="Log each request: its address as a template, status, time; never who, "
            "what, or where from."
        ),
    ] = False
    otlp_endpoint: Annotated[
        str,
        Meta(
            description="Where traces go: a collector inside the perimeter, as http://host:4318; "
            "empty for none."
        ),
    ] = ""
    connections: Annotated[
        int, Meta(ge=16, le=1_000_000, description="Connections the server holds at one time.")
    ] = 4096
    http2: Annotated[
        bool,
        Meta(
            description="Speak HTTP/2 with clients that can: agreed under TLS, or begun with over "
            "plain HTTP; off: HTTP/1.1 alone."
        ),
    ] = True
    drain_seconds: Annotated[
        int,
        Meta(ge=1, le=3600, description="Seconds that answers in flight have when it is stopped."),
    ] = 30
    witnesses: Annotated[
        str,
        Meta(description="TOML file of the witnesses that cosign the ledger; empty for none."),
    ] = ""
    witnesses_needed: Annotated[
        int, Meta(ge=1, le=100, description="Witnesses that must have signed for a receipt.")
    ] = 1
    witnesses_failing: Annotated[
        Literal["open", "closed"],
        Meta(
            description="When too few witnesses signed: open gives receipts without them, and "
            "says so; closed gives none."
        ),
    ] = "open"
    open_ledger: Annotated[
        bool, Meta(description="Serve the ledger's tiles to everyone, not to auditors alone.")
    ] = False

    @property
    def base(self) -> str:
        """The address that people reach the server under, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.tls_certificate else "http"
        return self.public_url.rstrip("/") or f"{scheme}://{host}:{self.port}"

    @property
    def encrypted(self) -> bool:
        """Whether people reach the server over TLS, its own or a proxy's."""
        return self.base.startswith("https://")

    def cookie(self, name: str, *, whole: bool = True) -> str:
        """What a cookie is called: over TLS with a prefix that browsers give to nobody else.

        ``whole``: it goes to every address here, as ``__Host-`` demands. RFC 6265bis, 4.1.3.
        """
        if not self.encrypted:
            return name
        return f"__Host-{name}" if whole else f"__Secure-{name}"

    @property
    def proxies(self) -> tuple[str, ...]:
        """The trusted proxies, each an address or a network."""
        return tuple(str(network) for network in _networks(self.trusted_proxies))

    def trusts(self, peer: str) -> bool:
        """Whether who connects from the address ``peer`` is one of the trusted proxies."""
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in _networks(self.trusted_proxies))


@dataclass(frozen=True)
class Setting:
    """One setting as ``casemate settings`` shows it."""

    name: str
    variable: str
    value: object
    default: object
    description: str


@dataclass(frozen=True)
class Variable:
    """A variable of the environment that is no setting: it never stands in a file."""

    name: str
    description: str


VARIABLES = (
    Variable("CASEMATE_DATA", "The data folder itself."),
    Variable("CASEMATE_LDAP_PASSWORD", "Password of the `bind_dn` in directory.toml."),
    Variable("CASEMATE_HUB_TOKEN", "Token for the hub that `casemate model pull` asks."),
    Variable(
        "CASEMATE_OIDC_SECRET_<NAME>",
        "Client secret of an identity provider, if its file says variable:CASEMATE_OIDC_SECRET_….",
    ),
    Variable(
        "CASEMATE_REMOTE_KEY_<MODEL>",
        "Key for the server of one remote model: the model's name in capitals, "
        "everything but A to Z and digits as “_”.",
    ),
    Variable("CASEMATE_TRACEBACK", "1: show where something went wrong inside."),
)
_OTHERS = re.compile(
    r"CASEMATE_(?:DATA|HUB_TOKEN|LDAP_PASSWORD|TRACEBACK|REMOTE_KEY_[A-Z0-9_]+|"
    r"OIDC_SECRET_[A-Z0-9_]+)"
)


def data_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder that holds everything: ``CASEMATE_DATA`` or the platform's user data folder."""
    chosen = (os.environ if environment is None else environment).get(_PREFIX + "DATA")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("casemate", appauthor=False))


def load(folder: Path, environment: Mapping[str, str] | None = None, **options: Any) -> Settings:
    """Settings of one data folder. Raises Invalid, naming the setting that is wrong."""
    values: dict[str, Any] = {}
    path = folder / FILE
    if path.is_file():
        try:
            values.update(msgspec.toml.decode(path.read_bytes()))
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise Invalid(f"{FILE} is not valid TOML: {problem}.", "Correct it.") from None
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    for name, text in (os.environ if environment is None else environment).items():
        field = name.removeprefix(_PREFIX).lower()
        if field in fields and name == _variable(field):
            values[field] = _from_text(name, text, fields[field].type)
        elif name.startswith(_PREFIX) and not _OTHERS.fullmatch(name):
            raise Invalid(
                f"There is no setting {name[:80]}.",
                "Correct or unset it; then `casemate settings` lists them all.",
            )
    values.update({name: value for name, value in options.items() if value is not None})
    try:
        settings = msgspec.convert(values, Settings)
        _networks(settings.trusted_proxies)
        if settings.tls_client_crl and not settings.tls_client_ca:
            raise Invalid(
                "The setting `tls_client_crl` is set without `tls_client_ca`.",
                "Name the authorities whose lists they are.",
            )
        return settings
    except msgspec.ValidationError as problem:
        raise Invalid(
            f"A setting is wrong: {problem}.", "`casemate settings` lists them all."
        ) from None


def describe(settings: Settings) -> Iterator[Setting]:
    """Every setting with its variable, value, default and meaning."""
    for field in msgspec.structs.fields(Settings):
        kind = msgspec.inspect.type_info(field.type)
        extra = kind.extra_json_schema if isinstance(kind, msgspec.inspect.Metadata) else None
        yield Setting(
            field.name,
            _variable(field.name),
            getattr(settings, field.name),
            field.default if field.default is not msgspec.NODEFAULT else field.default_factory(),
            str((extra or {}).get("description", "")),
        )


@cache
def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    try:
        return tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip())
    except ValueError:
        raise Invalid(
            "The setting `trusted_proxies` is wrong.",
            "Give addresses or networks such as 10.1.0.0/16, with commas between.",
        ) from None


def _variable(field: str) -> str:
    return _PREFIX + field.upper()


def _from_text(variable: str, text: str, kind: Any) -> object:
    inner = msgspec.inspect.type_info(kind)
    if isinstance(inner, msgspec.inspect.Metadata):
        inner = inner.type
    try:
        if isinstance(inner, msgspec.inspect.DictType):
            return msgspec.json.decode(text, type=kind)
        return msgspec.convert(text, kind, strict=False)
    except msgspec.DecodeError as problem:
        raise Invalid(f"{variable} is wrong: {problem}.", "Correct or unset it.") from None

"""A stage for signing in with a provider: a world that declares one, and a browser."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from gate_builders import Watch, World, a_world
from oidc_liar import SECRET, Liar, a_key, a_liar

from casemate.gate.sign_in import Finished
from casemate.store.tables import sessions, sign_ins, used_tokens

BASE = "https://casemate.example"
PROVIDER = """
[[provider]]
name = "ministry"
title = "Ministry of Specimens"
issuer = "{issuer}"
client_id = "casemate"
client_secret = "file:{secret}"
tenant = {{ name = "home" }}
roles = {{ claim = "groups", values = {{ clerks = ["user"], chiefs = ["user", "admin"] }} }}
clearance = {{ claim = "clearance" }}
{more}
"""
HONEST = {"preferred_username": "Claire", "groups": ["clerks"], "clearance": "lu:restricted"}


class Stage:
    """A world with one provider, and a browser."""

    def __init__(self, world: World, liar: Liar) -> None:
        self.world, self.liar = world, liar
        self.sign_ins = world.gate.sign_ins

    def begin(self) -> Any:
        return asyncio.run(self.sign_ins.begin("ministry", BASE, "/runs"))

    def finish(self, begun: Any, answer: dict[str, str], browser: str | None = None) -> Finished:
        browser = begun.browser if browser is None else browser
        return asyncio.run(self.sign_ins.finish("ministry", BASE, answer, browser))

    def sign_in(self) -> Finished:
        begun = self.begin()
        return self.finish(begun, self.liar.visit(begun.address))

    def end(self, token: str) -> int:
        return asyncio.run(self.sign_ins.end("ministry", token))

    def caller(self, done: Finished) -> Any:
        return self.world.gate.sessions.caller(done.session)

    def reset(self) -> None:
        """An honest provider again, which nobody has been asked about, at the first moment."""
        liar, world = self.liar, self.world
        honest = Liar(liar.issuer, world.watch, a_key("first"), [a_key("first")], dict(HONEST))
        vars(liar).clear()
        vars(liar).update(vars(honest))
        world.watch.moment = Watch().moment
        with world.database.write() as connection:
            for table in (sessions, sign_ins, used_tokens):
                connection.execute(table.delete())
        self.sign_ins = world.gate.sign_ins = anew(self)

    def rows(self, table: sa.Table) -> list[Any]:
        with self.world.database.read() as connection:
            return list(connection.execute(sa.select(table)).all())


@contextmanager
def a_stage(
    folder: Path,
    more: str = "",
    tls: ssl.SSLContext | None = None,
    provider: str = PROVIDER,
    **claims: Any,
) -> Iterator[Stage]:
    folder.mkdir(exist_ok=True)
    watch = Watch()
    with a_liar(watch, tls) as liar:
        secret = folder / "secret"
        secret.write_text(SECRET + "\n")
        secret.chmod(0o600)
        file = folder / "providers.toml"
        file.write_text(provider.format(issuer=liar.issuer, secret=secret, more=more))
        with a_world(folder, identity_providers=str(file)) as world:
            liar.clock = world.watch
            liar.claims = HONEST | claims
            world.gate.perimeter.add(
                world.owner,
                name="login",
                host="127.0.0.1",
                ports=[int(liar.issuer.rpartition(":")[2])],
                jurisdiction="LU",
                ceiling=world.label("unclassified"),
            )
            yield Stage(world, liar)


def the_only_provider(file: Path) -> Any:
    from casemate.gate.country import Country
    from casemate.gate.declaration import load

    (provider,) = load(file, Country.load("lu")).oidc.values()
    return provider


def anew(stage: Stage) -> Any:
    """The same providers, with nothing remembered of them."""
    from casemate.gate.federation import Federation
    from casemate.gate.oidc.sign_ins import SignIns

    gate = stage.world.gate
    federation = Federation(gate.database, gate.principals, gate.sessions, gate.rights)
    label = gate.country.policy.lowest()
    numbers = itertools.count()
    random = lambda size: hashlib.shake_128(b"anew %d" % next(numbers)).digest(size)  # noqa: E731
    return SignIns(
        stage.sign_ins.providers,
        gate.perimeter,
        federation,
        gate.database,
        gate.acts,
        random,
        label,
    )


def state_of(begun: Any) -> str:
    from urllib.parse import parse_qs, urlsplit

    return parse_qs(urlsplit(begun.address).query)["state"][0]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

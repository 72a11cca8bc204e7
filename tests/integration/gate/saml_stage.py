"""A stage for signing in with a SAML provider: a world that declares one, and a browser."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gate_builders import Watch, World, a_world
from lxml import etree
from saml_liar import NAMES, SamlLiar, a_signer, metadata

from casemate.gate.sign_in import Begun, Finished
from casemate.store.tables import sessions, sign_ins, used_tokens

BASE = "https://casemate.example"
OVER = f"{BASE}/sign-in/with/state/over"
ANSWER = f"{BASE}/sign-in/with/state/answer"
US = f"{BASE}/sign-in/with/state/metadata"
PROVIDER = """
[[saml]]
name = "state"
title = "State identity"
metadata = "state-idp.xml"
person = "uid"
tenant = { name = "home" }
roles = { claim = "groups", values = { clerks = ["user"] } }
clearance = { claim = "clearance" }
assurance = { minimum = "substantial" }
"""
HONEST = {"uid": ["Claire"], "groups": ["clerks", "others"], "clearance": ["lu:restricted"]}


class Stage:
    """A world with one SAML provider, and a browser."""

    def __init__(self, world: World, liar: SamlLiar) -> None:
        self.world, self.liar = world, liar
        self.saml = world.gate.saml

    def reset(self) -> None:
        honest = SamlLiar(self.world.watch, a_signer("idp"), copy.deepcopy(HONEST))
        honest.assertions, honest.logouts = self.liar.assertions, self.liar.logouts
        vars(self.liar).clear()
        vars(self.liar).update(vars(honest))
        self.world.watch.moment = Watch().moment
        with self.world.database.write() as connection:
            for table in (sessions, sign_ins, used_tokens):
                connection.execute(table.delete())

    def begin(self) -> Begun:
        return asyncio.run(self.saml.begin("state", BASE, "/runs"))

    def answer(self, form: str) -> str:
        return asyncio.run(self.saml.answer("state", BASE, form))

    def back(self, held: str, browser: str) -> Finished:
        return asyncio.run(self.saml.finish("state", BASE, {"held": held}, browser))

    def sign_in(self) -> Finished:
        begun = self.begin()
        return self.back(self.answer(self.liar.visit(begun.address)), begun.browser)

    def end(self, query: str) -> str:
        return asyncio.run(self.saml.end("state", BASE, query))

    def caller(self, done: Finished) -> Any:
        return self.world.gate.sessions.caller(done.session)


@contextmanager
def a_stage(folder: Path, more: str = "", until: str = "") -> Iterator[Stage]:
    """``more``: other lines about the provider, which may name our key ``own.pem``."""
    folder.mkdir(exist_ok=True)
    said = metadata(a_signer("idp"))
    if until:
        said = said.replace(" entityID=", f' validUntil="{until}" entityID=', 1)
    (folder / "state-idp.xml").write_text(said)
    (folder / "providers.toml").write_text(PROVIDER + more)
    a_signer("own").write(folder / "own.pem")
    a_signer("old").write(folder / "old.pem")
    with a_world(folder, identity_providers=str(folder / "providers.toml")) as world:
        yield Stage(world, SamlLiar(world.watch, a_signer("idp")))


def parsed(form: str) -> Any:
    return etree.fromstring(base64.b64decode(form))


def form_of(root: Any) -> str:
    return base64.b64encode(etree.tostring(root)).decode()


def one(root: Any, path: str) -> Any:
    found = root.find(path, NAMES)
    assert found is not None, path
    return found

"""What is taken away counts from the very next request on, here and in another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gate_builders import World, a_world

from casemate.errors import CasemateError, NotFound, Refused, Unauthenticated
from casemate.gate.admission import Admission

NO_ASKING = '@id("nobody-asks")\nforbid (principal, action == Action::"ask", resource);\n'


@dataclass
class Neighbour:
    """The other process, told what to do over a pipe; it answers when it is done."""

    process: subprocess.Popen[str]

    def do(self, line: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"


@dataclass
class Desk:
    """Bob at his desk, with a key, a use case up to restricted, and a restricted collection."""

    world: World
    key: str
    key_id: str
    policies: Path

    def ask(self, *collections: str) -> Admission:
        gate = self.world.gate
        caller = gate.caller_from_authorization(f"Bearer {self.key}")
        return gate.admit(caller, use_case="office", collections=collections)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path, Neighbour]]:
    folder = tmp_path_factory.mktemp("pair")
    with a_world(folder) as world:
        world.use_case("office")
        world.collection("open")
        world.collection("plans", "restricted")
        script = Path(__file__).with_name("gate_neighbour.py")
        with subprocess.Popen(
            [sys.executable, str(script), str(folder / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield world, folder / "data" / "policies", Neighbour(process)
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture
def desk(pair: tuple[World, Path, Neighbour], request: pytest.FixtureRequest) -> Desk:
    world, policies, _ = pair
    name = f"bob-{abs(hash(request.node.name))}"
    world.person(name, "restricted")
    id, text = world.gate.keys.create(world.owner, name)
    made = Desk(world, text, id, policies)
    assert len(made.ask().collections) >= 2  # what is remembered is warm
    return made


Doing = Callable[[str], None]


def here(world: World) -> Doing:
    gate = world.gate

    def do(line: str) -> None:
        act, *words = line.split()
        if act == "revoke":
            gate.keys.revoke(world.owner, words[0])
        elif act == "disable":
            gate.principals.disable(world.owner, words[0])
        elif act == "clear":
            gate.principals.change(world.owner, words[0], clearance=world.label(words[1]))
        elif act == "suspend":
            gate.use_cases.suspend(world.owner, words[0], "A test.")
        elif act == "load":
            gate.enforcement.load(world.owner)

    return do


@pytest.fixture(params=["here", "in another process"])
def do(
    request: pytest.FixtureRequest, pair: tuple[World, Path, Neighbour]
) -> Callable[[str], None]:
    return here(pair[0]) if request.param == "here" else pair[2].do


def name_of(desk: Desk) -> str:
    return desk.ask().principal.name


def test_a_revoked_key_opens_nothing_more(desk: Desk, do: Doing) -> None:
    do(f"revoke {desk.key_id}")
    with pytest.raises(Unauthenticated):
        desk.ask()


def test_a_disabled_principal_is_shut_out(desk: Desk, do: Doing) -> None:
    caller = desk.ask().caller
    do(f"disable {name_of(desk)}")
    with pytest.raises(Unauthenticated):
        desk.ask()
    with pytest.raises(Unauthenticated):  # also who was let in before
        desk.world.gate.admit(caller, use_case="office")


def test_a_lower_clearance_hides_what_is_above_it(desk: Desk, do: Doing) -> None:
    assert desk.ask("plans").collections
    do(f"clear {name_of(desk)} unclassified")
    assert len(desk.ask().collections) == 1
    with pytest.raises(NotFound):
        desk.ask("plans")


def test_a_suspended_use_case_admits_nobody_until_it_is_approved_again(
    desk: Desk, do: Doing
) -> None:
    do("suspend office")
    with pytest.raises(Refused, match="office is suspended, not approved"):
        desk.ask()
    second = desk.world.caller("second office")
    desk.world.gate.use_cases.approve(second, "office")
    assert desk.ask()


def test_changed_policies_count(desk: Desk, do: Doing) -> None:
    file = desk.policies / "mine.cedar"
    before = desk.ask().decision.digest
    try:
        file.write_text(NO_ASKING)
        assert desk.ask()  # a file that nobody loaded changes nothing
        do("load")
        with pytest.raises(Refused, match="refused by policy nobody-asks"):
            desk.ask()
    finally:
        file.unlink()
        do("load")
    assert desk.ask().decision.digest == before


def test_a_new_collection_is_seen_at_once(desk: Desk) -> None:
    before = len(desk.ask().collections)
    desk.world.collection(f"new {desk.key_id}")
    assert len(desk.ask().collections) == before + 1


def test_a_key_ends_at_its_hour_though_nothing_changes(desk: Desk) -> None:
    world = desk.world
    _, text = world.gate.keys.create(world.owner, name_of(desk), days=1)
    other = Desk(world, text, "", desk.policies)
    assert other.ask()
    world.watch.pass_by(days=1)
    try:
        with pytest.raises(Unauthenticated):
            other.ask()
    finally:
        world.watch.pass_by(days=-1)


def test_guesses_are_refused_with_one_message_and_push_nothing_out(desk: Desk) -> None:
    gate = desk.world.gate
    right = f"Bearer {desk.key}"
    remembered = len(gate.memory._held[1])
    messages = set()
    for number in range(50):
        guess = f"cm_{'abcdefghij'[number % 10] * 10}_{'x' * 43}"
        for text in (guess, desk.key[:-1] + "!", desk.key[:-1], f"cm_{desk.key_id}_{'x' * 43}"):
            with pytest.raises(CasemateError) as caught:
                gate.caller_from_authorization(f"Bearer {text}")
            messages.add(str(caught.value))
    assert len(messages) == 1
    assert len(gate.memory._held[1]) <= remembered + 1
    assert gate.caller_from_authorization(right)

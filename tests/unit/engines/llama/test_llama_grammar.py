"""Grammars: what is free, what the schema binds."""

from __future__ import annotations

import pytest

from casemate.engines.llama.grammar import grammar, parse, probe
from casemate.engines.llama.stream import Marks
from casemate.errors import Invalid

MARKS = Marks(34, 35, 9, None, 32)
SCHEMA = '{"type":"object"}'


def start(**parts: object) -> str:
    usual = {"marks": MARKS, "thinking": "none", "begun": False, "tools": False}
    made = grammar(SCHEMA, **(usual | parts))  # type: ignore[arg-type]
    lines = made.splitlines()
    assert lines[0] == "%llguidance {}"
    assert lines[2] == f"answer: %json {SCHEMA}"
    return lines[1]


def test_the_answer_alone_is_bound() -> None:
    assert start() == "start:  answer"
    assert start(thinking="tokens") == "start: (<[34]> ANY <[35]>)? answer"
    assert start(thinking="tokens", begun=True) == "start: ANY <[35]> answer"
    assert start(thinking="tokens", marks=Marks()) == "start:  answer"
    assert start(thinking="text") == "start: thought? answer"
    assert start(thinking="text", begun=True) == "start: thought answer"


def test_a_call_may_stand_in_place_of_the_answer() -> None:
    assert start(tools=True) == "start:  (answer | call+)"
    assert start(tools=True, marks=Marks()) == "start:  answer"


@pytest.mark.parametrize("schema", ["", "[", "7", "[]", '"x"', "{}\n%ignore /./", "{" * 5000])
def test_what_is_no_object_is_refused(schema: str) -> None:
    with pytest.raises(Invalid, match="JSON Schema"):
        parse(schema)


def test_a_schema_is_one_line_whatever_it_holds() -> None:
    assert "\n" not in parse('{\n "a":\n "x\\ny"\n}')


def test_a_probe_writes_what_only_the_grammar_can_make_it_write() -> None:
    body = probe(SCHEMA, 5)
    assert body["logit_bias"] == [[5, -100.0]]
    assert "<[5]>" in body["grammar"]

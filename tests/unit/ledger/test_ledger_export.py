"""Exporting the ledger: every kind has a meaning, every event is valid, every line escapes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_kinds import recorded_kinds

from casemate.errors import Invalid
from casemate.ledger import cef, ocsf
from casemate.ledger.export import FORMATS, export
from casemate.ledger.kind import MEANINGS, meaning
from casemate.ledger.receipt import canonical
from casemate.ledger.search import Found, Period

ORIGIN = "casemate.example/log"
TIME = "2026-01-31T12:00:00Z"
MILLISECONDS = 1769860800000  # date --utc --date 2026-01-31T12:00:00Z +%s, and three zeros

# Facts of OCSF 1.3.0 (repository ocsf/ocsf-schema, tag 1.3.0; schema.ocsf.io/1.3.0): of each
# class its category, what it requires beyond the base event, and its activities.
BASE = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
CLASSES: dict[int, tuple[int, set[str], set[int]]] = {
    0: (0, set(), {0, 99}),
    2004: (2, {"finding_info"}, {0, 1, 2, 3, 99}),
    3001: (3, {"user"}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99}),
    3002: (3, {"user"}, {0, 1, 2, 3, 4, 5, 6, 99}),
    3004: (3, {"entity"}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99}),
    6002: (6, {"app"}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 99}),
    6003: (6, {"actor", "api", "src_endpoint"}, {0, 1, 2, 3, 4, 99}),
}
SEVERITIES = {0, 1, 2, 3, 4, 5, 6, 99}
NAMES = {
    0: "base_event",
    2004: "detection_finding",
    3001: "account_change",
    3002: "authentication",
    3004: "entity_management",
    6002: "application_lifecycle",
    6003: "api_activity",
}

POLICY = {"decision": "allow", "deciding": ["users-ask"], "digest": "sha256:" + "2" * 64}
MODEL = {"id": "quote", "digest": "sha256:" + "1" * 64}
# What entries of a kind hold beside version, kind, time and actor; others hold one field more.
FIELDS: dict[str, dict[str, Any]] = {
    "run.admitted": {
        "principal": "pasker",
        "tenant": "t1",
        "run": "r_1",
        "use_case": "documents",
        "label": "lu:unclassified",
        "model": MODEL,
        "policy": POLICY,
        "question": "sha256:" + "3" * 64,
    },
    "refused": {
        "action": "ask",
        "resource": "UseCase:secret",
        "policies": [],
        "policy_set": "sha256:" + "2" * 64,
    },
    "acted.as": {"principal": "pother", "act": "document.show"},
    "session.opened": {"by": "link"},
    "key.created": {"key": "k1", "subject": "pother"},
    "documents.added": {"collection": "c_1", "documents": [f"d_{n}" for n in range(900)]},
    "engine.started": {"model": "nano", "manifest": "sha256:cc", "layers": ["seccomp"]},
    "model.tampered": {"model": "nano", "manifest": "sha256:cc"},
    "ledger.split_view": {"witness": "w1"},
}
FIELDS["run.finished"] = FIELDS["run.admitted"] | {"outcome": "answered"}


def an_entry(kind: str, **changes: Any) -> Found:
    entry: dict[str, Any] = {"v": 1, "kind": kind, "time": TIME}
    entry |= FIELDS.get(kind, {"subject": "psubject"})
    if kind not in ("run.admitted", "run.finished"):
        entry["actor"] = "pactor"
    entry |= changes
    return Found(7, canonical(entry), entry)


def every_kind() -> list[str]:
    return sorted(recorded_kinds())


# Every kind


def test_the_kinds_that_the_program_records_are_found() -> None:
    kinds = recorded_kinds()
    known = {"run.admitted", "run.finished", "refused", "acted.as", "principal.changed"}
    known |= {"model.withdrawn", "use_case.suspended", "bundle.promoted", "perimeter.added"}
    assert known <= set(kinds)
    assert "casemate.receipt" not in kinds


def test_every_kind_that_is_recorded_has_a_meaning() -> None:
    missing = {kind: where for kind, where in recorded_kinds().items() if kind not in MEANINGS}
    assert not missing, f"Say in ledger/kind.py what these mean: {missing}"


def test_no_meaning_is_left_of_a_kind_that_nobody_records() -> None:
    retired: set[str] = set()  # kinds that older entries have: their meanings stay
    assert set(MEANINGS) - set(recorded_kinds()) == retired


def test_each_meaning_has_a_title_of_its_own() -> None:
    titles = [one.title for one in MEANINGS.values()]
    assert len(set(titles)) == len(titles)


# OCSF


@pytest.mark.parametrize("kind", [*every_kind(), "from.tomorrow"])
def test_an_event_holds_what_its_class_requires(kind: str) -> None:
    event = ocsf.event(an_entry(kind), ORIGIN)
    category, required, activities = CLASSES[event["class_uid"]]
    assert BASE | required <= set(event)
    assert event["category_uid"] == category
    assert event["activity_id"] in activities
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["severity_id"] in SEVERITIES
    assert event["time"] == MILLISECONDS
    assert event["metadata"]["version"] == "1.3.0"
    assert set(event["metadata"]["product"]) >= {"name", "vendor_name", "version"}
    assert (event["activity_id"] == 99) == ("activity_name" in event)
    for thing in (event.get("entity"), event.get("src_endpoint"), event.get("service")):
        assert thing is None or thing.get("uid") or thing.get("name")
    if event["class_uid"] == 3002:
        assert event["service"]  # the class wants a service or an endpoint
    if event["class_uid"] == 2004:
        assert set(event["finding_info"]) >= {"uid", "title"}


@pytest.mark.parametrize("kind", [*every_kind(), "from.tomorrow"])
def test_an_event_is_valid_under_the_published_schema(kind: str) -> None:
    event = ocsf.event(an_entry(kind), ORIGIN)
    assert not problems(event)
    for name in CLASSES[event["class_uid"]][1] | BASE:
        assert problems({key: value for key, value in event.items() if key != name})
    assert problems(event | {"no_such_attribute": 1})


def problems(event: dict[str, Any]) -> list[str]:
    """What the published schema has against an event."""
    class_uid = event.get("class_uid")
    profiles = tuple(event.get("metadata", {}).get("profiles", ()))
    if class_uid is None:
        return ["no class"]
    return [error.message for error in _validator(class_uid, profiles).iter_errors(event)]


@cache
def _validator(class_uid: int, profiles: tuple[str, ...]) -> Any:
    schemas = pytest.importorskip(
        "ocsf_json_schema", reason="needs ocsf-json-schema, which holds the published schema"
    )
    from jsonschema import Draft202012Validator

    schema = _schemas(schemas).get_class_schema(NAMES[class_uid], list(profiles))
    return Draft202012Validator(schema)


@cache
def _schemas(schemas: Any) -> Any:
    return schemas.OcsfJsonSchemaEmbedded(schemas.get_ocsf_schema("1.3.0"))


@pytest.mark.parametrize("kind", every_kind())
def test_an_event_loses_nothing_of_its_entry(kind: str) -> None:
    found = an_entry(kind)
    said = json.dumps(ocsf.event(found, ORIGIN))
    for name, value in found.entry.items():
        if name not in ("v", "time"):
            leaves = value.split(":") if name == "resource" else _leaves(value)
            for part in leaves:
                assert part in said, name


def test_a_refusal_is_a_failure_that_names_what_was_asked_for() -> None:
    event = ocsf.event(an_entry("refused"), ORIGIN)
    assert event["status_id"] == 2
    assert event["api"]["operation"] == "ask"
    assert event["resources"] == [{"type": "UseCase", "uid": "secret"}]
    assert event["actor"]["authorizations"][0]["decision"] == "refuse"
    assert ocsf.event(an_entry("refused", action="read"), ORIGIN)["activity_id"] == 2


@pytest.mark.parametrize(
    ("outcome", "status"), [("answered", 1), ("unanswered", 1), ("failed", 2), ("refused", 2)]
)
def test_a_run_succeeds_or_fails_as_its_entry_says(outcome: str, status: int) -> None:
    event = ocsf.event(an_entry("run.finished", outcome=outcome), ORIGIN)
    assert (event["status_id"], event["status_detail"]) == (status, outcome)


def test_a_finding_is_critical_and_no_success() -> None:
    event = ocsf.event(an_entry("model.tampered"), ORIGIN)
    assert event["severity_id"] == 5
    assert "status_id" not in event
    assert event["resources"] == [{"type": "model", "name": "nano", "uid": "sha256:cc"}]


def test_a_key_is_a_credential_of_its_holder() -> None:
    event = ocsf.event(an_entry("key.created"), ORIGIN)
    assert event["user"] == {"uid": "pother", "credential_uid": "k1"}
    assert event["actor"] == {"user": {"uid": "pactor"}}


def test_acting_as_somebody_else_keeps_both() -> None:
    event = ocsf.event(an_entry("acted.as"), ORIGIN)
    assert event["actor"]["user"]["uid"] == "pactor"
    assert event["unmapped"]["principal"] == "pother"


def test_an_entry_of_an_unknown_kind_is_a_base_event_with_all_its_fields() -> None:
    event = ocsf.event(an_entry("from.tomorrow", more=[1, {"a": "b"}]), ORIGIN)
    assert (event["class_uid"], event["type_uid"]) == (0, 99)
    assert event["metadata"]["event_code"] == "from.tomorrow"
    assert event["unmapped"]["more"] == [1, {"a": "b"}]


@given(
    st.dictionaries(
        st.sampled_from(
            "actor principal policy model resource key by subject action policies policy_set "
            "run use_case outcome manifest collection time kind".split()
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["id", "digest", "deciding"]), inner, max_size=3)
            ),
            max_leaves=5,
        ),
    ),
    st.sampled_from(sorted(MEANINGS)),
)
def test_an_entry_of_any_shape_can_be_exported(entry: dict[str, Any], kind: str) -> None:
    for one in (entry, entry | {"kind": kind}):
        for write in FORMATS.values():
            assert "\n" not in write(Found(0, b"{}", one), ORIGIN)


# CEF


def parsed(line: str) -> tuple[list[str], dict[str, str]]:
    """A CEF line, character by character, as its readers take it: header, and pairs."""
    header, rest = [""], line
    while len(header) < 8:
        one, rest = rest[0], rest[1:]
        if one == "\\":
            assert rest[0] in "\\|"
            header[-1] += rest[0]
            rest = rest[1:]
        elif one == "|":
            header.append("")
        else:
            header[-1] += one
    pairs: dict[str, str] = {}
    tokens = re.findall(r"\\.|[^\\]", rest, re.DOTALL)
    starts = [place for place, token in enumerate(tokens) if token == "="]
    key, begin = "", 0
    for place in [*starts, len(tokens)]:
        piece = tokens[begin:place]
        if place == len(tokens):
            pairs[key] = _unescaped(piece)
            break
        name = re.search(r"(?:^| )([A-Za-z0-9]+)$", "".join(piece))
        assert name is not None
        if begin:
            pairs[key] = _unescaped(piece[: len(piece) - len(name.group(0))])
        key, begin = name.group(1), place + 1
        assert key not in pairs
    return header[:7], pairs


def _unescaped(tokens: list[str]) -> str:
    meant = {"\\\\": "\\", "\\=": "=", "\\n": "\n", "\\r": "\r"}
    return "".join(meant[one] if one.startswith("\\") else one for one in tokens)


awkward = st.text(st.sampled_from('ab =|\\\n\r"{}€ ' + "x=y"), max_size=20)


@given(reason=awkward, run=awkward, more=awkward, kind=awkward)
def test_a_line_gives_back_what_was_put_into_it(
    reason: str, run: str, more: str, kind: str
) -> None:
    line = cef.line(an_entry(kind, reason=reason, run=run, more=more), ORIGIN)
    assert "\n" not in line
    assert "\r" not in line
    header, pairs = parsed(line)
    assert header[0] == "CEF:0"
    assert header[4] == kind.replace("\n", " ").replace("\r", " ")
    assert (pairs["reason"], pairs["cs5"]) == (reason, run)
    assert json.loads(pairs["cs6"])["more"] == more


def test_escapes_are_exactly_those_of_the_format() -> None:
    line = cef.line(an_entry("a|b\\c", reason="p|q=r\\s\nt\ru"), ORIGIN)
    assert "|a\\|b\\\\c|" in line
    assert " reason=p|q\\=r\\\\s\\nt\\ru " in line


@pytest.mark.parametrize("kind", every_kind())
def test_a_line_says_who_what_when_and_where(kind: str) -> None:
    header, pairs = parsed(cef.line(an_entry(kind), ORIGIN))
    assert header[:3] == ["CEF:0", "Casemate", "Casemate"]
    assert header[4:6] == [kind, meaning(kind).title]
    assert 0 <= int(header[6]) <= 10
    assert (pairs["rt"], pairs["externalId"]) == (str(MILLISECONDS), "7")
    assert pairs["deviceExternalId"] == ORIGIN
    assert pairs["suid"] == ("pasker" if kind.startswith(("run.adm", "run.fin")) else "pactor")
    assert {key for key in pairs if key.endswith("Label")} == {
        f"{key}Label" for key in pairs if re.fullmatch(r"cs\d", key)
    }


def test_a_run_can_be_told_by_words_that_rules_compare() -> None:
    _, pairs = parsed(cef.line(an_entry("run.finished"), ORIGIN))
    assert [pairs[f"cs{number}"] for number in range(1, 6)] == [
        "documents",
        "quote",
        "lu:unclassified",
        "users-ask",
        "r_1",
    ]
    assert pairs["outcome"] == "answered"
    assert json.loads(pairs["cs6"])["policy"] == POLICY


def test_more_than_the_format_allows_is_left_in_the_ledger() -> None:
    _, pairs = parsed(cef.line(an_entry("documents.added"), ORIGIN))
    assert pairs["cs6"] == "see entry 7"


def test_what_failed_weighs_more_than_what_did_not() -> None:
    def severity(**changes: str) -> int:
        return int(parsed(cef.line(an_entry("run.finished", **changes), ORIGIN))[0][6])

    assert severity(outcome="failed") > severity(outcome="answered")


# The export


class Entries:
    def __init__(self, found: list[Found]) -> None:
        self._found = found

    @property
    def size(self) -> int:
        return len(self._found)

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        for index in range(start, self.size):
            yield index, self._found[index].raw


def exported(log: Entries, format: str = "jsonl", **how: Any) -> list[str]:
    period = how.pop("period", Period())
    return "".join(export(log, ORIGIN, format, period, **how)).splitlines()


def a_log(count: int) -> Entries:
    return Entries([an_entry("run.finished", run=f"r_{number}") for number in range(count)])


def test_exact_bytes_come_with_their_index() -> None:
    log = a_log(600)
    for number, line in enumerate(exported(log)):
        one = json.loads(line)
        assert one["index"] == number
        assert base64.b64decode(one["bytes"]) == canonical(one["entry"])


@pytest.mark.parametrize("format", sorted(FORMATS))
@pytest.mark.parametrize("start", [0, 1, 255, 256, 599, 600, 601])
def test_an_export_that_goes_on_gives_what_was_missing(format: str, start: int) -> None:
    log = a_log(600)
    assert exported(log, format, start=start) == exported(log, format)[start:]


def test_an_export_keeps_to_its_period() -> None:
    log = Entries(
        [an_entry("run.finished", time=f"2026-01-{day:02}T12:00:00Z") for day in range(1, 31)]
    )
    lines = exported(log, "ocsf", period=Period.parse("2026-01-10", "2026-01-12"))
    assert [json.loads(line)["metadata"]["sequence"] for line in lines] == [9, 10, 11]


def test_no_piece_grows_beyond_its_bound() -> None:
    log = Entries([an_entry("documents.added", documents=["d" * 60_000]) for _ in range(256)])
    pieces = list(export(log, ORIGIN, "jsonl", Period()))
    assert max(map(len, pieces)) < 1.3 * (1 << 20)


def test_a_format_that_does_not_exist_is_said_to() -> None:
    with pytest.raises(Invalid, match="no export format"):
        list(export(a_log(1), ORIGIN, "leef", Period()))


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in _leaves(one)]
    return [str(value)]

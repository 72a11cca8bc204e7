"""Administration on the command line and over HTTP: declarations, policies, use cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from house_builders import a_house, a_server, casemate

DECLARED = """
[[principal]]
name = "anna"
roles = ["owner", "admin", "user"]

[[collection]]
name = "plans"

[[use_case]]
id = "counter"
purpose = "Answering at the counter."
legal_basis = "Our own rules."
risk = "minimal"
collections = ["plans"]
not_prohibited = "It looks up what plans say."

[policies]
folder = "rules"
"""
EXPECTED = """
[[expect]]
name = "Users ask"
decision = "allow"
action = "ask"
principal = { roles = ["user"] }
resource = { kind = "use_case" }
"""
NO_ASKING = '@id("nobody-asks") forbid (principal, action == Action::"ask", resource);\n'


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("administration") / "data"
    with a_house(data):
        pass
    return data


@pytest.fixture
def town(data: Path) -> None:
    file = data.parent / "town.toml"
    file.write_text(DECLARED)
    rules(data)
    casemate("apply", file, data=data).fine()


@pytest.fixture
def served(data: Path) -> Iterator[None]:
    with a_server(data):
        yield


def rules(data: Path, **more: str) -> Path:
    """A copy of the policies in force beside the declaration, with more files."""
    folder = data.parent / "rules"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for path in (data / "policies").glob("*.cedar"):
        (folder / path.name).write_text(path.read_text())
    for name, text in more.items():
        (folder / f"{name}.cedar").write_text(text)
    return folder


def test_a_declaration_is_planned_applied_and_then_as_it_is(data: Path) -> None:
    file = data.parent / "town.toml"
    file.write_text(DECLARED)
    rules(data)
    planned = casemate("apply", file, "--dry-run", data=data).fine().out
    assert "+ create principal anna: planned\n    kind: person\n" in planned
    assert planned.endswith("3 planned, 1 unchanged.\n")
    applied = casemate("apply", file, "--json", data=data).fine().json
    assert [one["state"] for one in applied] == ["done", "done", "done", "unchanged"]
    again = casemate("apply", file, data=data).fine().out
    assert again == (
        "= use case counter: as declared. "
        "A second person approves it: casemate usecase approve counter\n"
        "Nothing to do: all is as declared.\n"
    )


def test_what_cannot_be_applied_exits_1_and_is_explained(data: Path) -> None:
    file = data.parent / "wrong.toml"
    file.write_text('[[principal]]\nname = "eve"\nclearance = "cosmic"\n[[tenant]]\nname = "x"')
    done = casemate("apply", file, data=data)
    assert done.code == 1
    assert "✗ principal eve: failed\n    There is no level 'cosmic'" in done.out
    assert "· create tenant x: not tried" in done.out
    assert done.out.endswith("1 failed, 1 not tried.\n")
    file.write_text("[[principal]\n")
    assert "wrong.toml is not TOML" in casemate("apply", file, data=data).refused()
    file.write_text('[policies]\nfolder = "nowhere"\n')
    assert "no policy files in 'nowhere'" in casemate("apply", file, data=data).refused()


@pytest.mark.usefixtures(
    "town", "served"
)  # whose commands are faster, and the other way to perform them
def test_use_cases_are_screened_changed_and_looked_at(data: Path, tmp_path: Path) -> None:
    asked = casemate("usecase", "questions", "--json", data=data).fine().json
    assert casemate("usecase", "questions", "--language", "lb", data=data).fine().out
    answers = tmp_path / "answers.toml"
    said = [f'[{one["id"]}]\nanswer = "no"\nreason = "Of plans."\n' for one in asked]
    answers.write_text("".join(said))
    new = ("--purpose", "To plan.", "--legal-basis", "Rules.", "--risk", "minimal")
    refused = casemate("usecase", "register", "plans", *new, data=data).refused()
    assert "lacks answers: manipulation" in refused
    hours = ("--hours", "mon-sun 00:00-24:00", "--quota", "runs=4")
    made = casemate(
        *("usecase", "register", "plans", *new, *hours, "--answers", answers, "--json"), data=data
    ).fine()
    assert made.json["hours"] == "mon-sun 00:00-24:00 Europe/Luxembourg"
    assert made.json["quota"] == {"runs": 4}
    answers.write_text("".join(said).replace('"no"', '"yes"', 1))
    refused = casemate(
        "usecase", "register", "other", *new, "--answers", answers, data=data
    ).refused()
    assert "prohibited practice (AI Act, Article 5(1)(a))" in refused
    as_anna = ("--principal", "anna")
    casemate("usecase", "approve", "plans", "--version", "1", *as_anna, data=data).fine()
    changed = casemate("usecase", "change", "plans", "--hours", "always", data=data).fine().out
    assert "pending         2\n" in changed
    casemate("usecase", "withdraw", "plans", "--reason", "A mistake.", data=data).fine()
    casemate("usecase", "suspend", "plans", "--reason", "An incident.", data=data).fine()
    told = casemate("usecase", "history", "plans", data=data).fine().out
    assert "version 1  suspended, by " in told
    assert "    An incident.\n" in told
    assert "    manipulation: no. Of plans.\n" in told


@pytest.mark.usefixtures("town", "served")
def test_policies_are_checked_tested_and_explained(data: Path, tmp_path: Path) -> None:
    found = casemate("policy", "check", "--json", data=data).fine().json
    assert (found["files"], found["in_force"]) == (
        ["assurance.cedar", "limits.cedar", "office.cedar", "use.cedar"],
        True,
    )
    broken = tmp_path / "broken.cedar"
    broken.write_text("permit (principal, action, resource);")
    refused = casemate("policy", "check", broken, data=data).refused()
    assert "broken.cedar, line 1: this policy has no @id" in refused
    expected = tmp_path / "expected.toml"
    expected.write_text(EXPECTED)
    fine = casemate("policy", "test", expected, data=data).fine()
    assert fine.out == "1 expected, 0 different.\n"
    folder = rules(data, mine=NO_ASKING)
    how = ("--via", "session", "--assurance", "high", "--second-factor")
    strong = ("policy", "explain", "anna", "administer", "installation", *how)
    assert casemate(*strong, data=data).fine().out.startswith("Allowed.")
    other = casemate("policy", "test", expected, "--policies", folder, "--json", data=data)
    assert (other.code, other.json["different"]) == (1, 1)
    assert other.json["differences"][0]["what"] == (
        "expected allow, but it is refuse, by nobody-asks"
    )
    told = casemate("policy", "explain", "anna", "ask", "use_case:documents", data=data).fine()
    assert told.out == (
        "Allowed.\n- Users ask and search under use cases. (users-ask, use.cedar, line 3)\n"
    )
    why = ("policy", "explain", "anna", "read", "collection", "--label", "secret", "--json")
    assert casemate(*why, data=data).fine().json["allowed"] is False


@pytest.mark.usefixtures("town")
def test_a_running_server_loads_policies_and_takes_declarations(data: Path) -> None:
    mine = data / "policies" / "mine.cedar"
    with a_house(data) as house:
        key = house.key("anna")
    with a_server(data) as server:
        assert server.ask("What?", key=key).status == 200
        mine.write_text(NO_ASKING)
        assert casemate("policy", "check", "--json", data=data).fine().json["in_force"] is False
        assert server.ask("What?", key=key).status == 200
        assert "loaded" in casemate("policy", "load", data=data).fine().out
        refused = server.ask("What?", key=key)
        assert refused.status == 403
        assert "nobody-asks" in refused.json["error"]["what"]
        mine.write_text("permit")
        assert "mine.cedar, line 1" in casemate("policy", "load", data=data).refused()
        assert server.ask("What?", key=key).status == 403
        mine.unlink()
        casemate("policy", "load", data=data).fine()
        assert server.ask("What?", key=key).status == 200
        proposed = casemate(
            "policy", "propose", rules(data, mine=NO_ASKING), "--json", data=data
        ).fine()
        digest = proposed.json["digest"]
        assert "second person" in casemate("policy", "approve", digest, data=data).refused()
        casemate("policy", "approve", digest, "--principal", "anna", data=data).fine()
        assert server.ask("What?", key=key).status == 403
    assert mine.read_text() == NO_ASKING
    mine.unlink()


@pytest.mark.usefixtures("town")
def test_programs_administer_over_http_and_may_repeat_themselves(data: Path) -> None:
    with a_house(data) as house:
        key, user = house.key("anna"), house.person("otto").principal.name
        plain = house.key(user)
    with a_server(data) as server:

        def send(method: str, path: str, body: object, with_key: str = key):  # type: ignore[no-untyped-def]
            return server.http(
                method, path, key=with_key, body=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
            )  # fmt: skip

        made = send("PUT", "/api/principals/paula", {"roles": ["admin", "user"]})
        assert (made.status, made.json["act"]) == (201, "create")
        again = send("PUT", "/api/principals/paula", {"roles": ["admin", "user"]})
        assert (again.status, again.json["state"]) == (200, "unchanged")
        assert send("PUT", "/api/principals/paula", {"roles": ["king"]}).status == 400
        assert "roles" in send("PUT", "/api/principals/paula", {"roles": ["king"]}).body.decode()
        assert send("PUT", "/api/principals/paula", {}, plain).status == 403
        assert send("PUT", "/api/principals/paula", {}, "").status == 401
        assert send("PUT", "/api/tenants/roads", {}).status == 201
        assert send("PUT", "/api/collections/maps", {"readers": ["paula"]}).status == 201
        case = {
            "purpose": "Maps.",
            "legal_basis": "Rules.",
            "risk": "minimal",
            "collections": ["maps"],
            "not_prohibited": "It looks up maps.",
        }
        proposed = send("PUT", "/api/use-cases/maps", case)
        assert (proposed.status, proposed.json["act"]) == (200, "propose")
        assert send("PUT", "/api/use-cases/maps", case).json["state"] == "unchanged"
        # A key is not a person.
        assert send("POST", "/api/use-cases/maps/approve", {}).status == 403
        assert send("POST", "/api/use-cases/maps/retire", {"reason": ""}).status == 400
        ended = send("POST", "/api/use-cases/maps/retire", {"reason": "It is over."})
        assert (ended.status, ended.json["state"]) == (200, "retired")
        declared = {"principal": [{"name": "ines"}], "collection": [{"name": "maps"}]}
        planned = send("POST", "/api/apply?dry_run=true", declared)
        assert [one["state"] for one in planned.json["changes"]] == ["planned", "unchanged"]
        applied = send("POST", "/api/apply", declared)
        assert [one["state"] for one in applied.json["changes"]] == ["done", "unchanged"]
        wrong = send("POST", "/api/apply", {"principal": [{"name": " "}]})
        assert (wrong.status, wrong.json["changes"][0]["state"]) == (409, "failed")
        assert send("POST", "/api/apply", {"nonsense": []}).status == 400
        assert send("POST", "/api/apply", declared, plain).status == 403
        (in_force,) = server.http("GET", "/api/policies", key=key).json["policies"]
        files = {**in_force["files"], "mine.cedar": NO_ASKING}
        put = send("PUT", "/api/policies", {"files": files})
        assert (put.status, put.json["act"]) == (200, "propose")
        assert send("PUT", "/api/policies", {"files": {"x.cedar": "permit"}}).status == 400
        document = server.http("GET", "/api/openapi.json").json
        for path in ("/api/apply", "/api/principals/{name}", "/api/use-cases/{id}/approve"):
            assert path in document["paths"]

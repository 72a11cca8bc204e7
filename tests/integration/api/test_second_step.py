"""Signing in at the web in two steps, and what many failures from one address do."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from house_builders import Answer, Server, a_house, a_server, casemate

from casemate.gate import totp

PASSWORD = "seven tall herons by the Alzette"


def sent(server: Server, path: str, address: str = "", **form: str) -> Answer:
    headers = {
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/x-www-form-urlencoded",
        **({"X-Forwarded-For": address} if address else {}),
    }
    return server.http("POST", path, body=urlencode(form).encode(), headers=headers)


def signed_in(answer: Answer) -> bool:
    return "casemate_session=" in answer.headers.get("set-cookie", "")


def ticket(answer: Answer) -> str:
    found = re.search(r'name="ticket" value="([^"]+)"', answer.body.decode())
    assert found, answer
    return found[1]


def test_a_person_with_an_app_signs_in_with_password_and_code(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        house.person("Bob")
    casemate("user", "password", "Bob", "--stdin", data=data, input=f"{PASSWORD}\n".encode()).fine()
    made = casemate("user", "totp", "Bob", "--json", data=data).fine().json
    (secret,) = parse_qs(urlsplit(made["address"]).query)["secret"]
    with a_server(data) as server:
        first = sent(server, "/sign-in", name="Bob", password=PASSWORD, next="/runs")
        assert (first.status, signed_in(first)) == (200, False)
        wrong = sent(server, "/sign-in/code", ticket=ticket(first), code="nothing")
        assert (wrong.status, signed_in(wrong)) == (401, False)
        assert ticket(wrong) == ticket(first)
        step = int(time.time()) // totp.STEP_SECONDS
        code = totp.code(base64.b32decode(secret), step)
        right = sent(server, "/sign-in/code", ticket=ticket(first), code=code, next="/runs")
        assert (right.status, right.headers["location"], signed_in(right)) == (303, "/runs", True)
        again = sent(server, "/sign-in", name="Bob", password=PASSWORD)
        late = sent(server, "/sign-in/code", ticket=ticket(again), code=code)
        assert (late.status, signed_in(late)) == (401, False)
        paper = sent(server, "/sign-in/code", ticket=ticket(again), code=made["recovery_codes"][0])
        assert signed_in(paper)
        casemate("user", "totp", "Bob", "--off", "--json", data=data).fine()
        assert signed_in(sent(server, "/sign-in", name="Bob", password=PASSWORD))


def test_an_address_that_fails_often_is_closed_with_the_same_page_and_an_entry(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        house.person("Bob")
        house.installation.gate.principals.set_password(house.owner, "Bob", PASSWORD)
    with a_server(data) as server:
        pages = {
            sent(server, "/sign-in", "192.0.2.7", name=f"name {number:02}", password="wrong")
            .body.decode()
            .replace(f"name {number:02}", "")
            for number in range(20)
        }
        closed = sent(server, "/sign-in", "192.0.2.7", name="Bob", password=PASSWORD)
        pages.add(closed.body.decode().replace("Bob", ""))
        assert (closed.status, len(pages)) == (401, 1)
        assert signed_in(sent(server, "/sign-in", "192.0.2.8", name="Bob", password=PASSWORD))
    with a_house(data) as house:
        (entry,) = [one for one in house.entries() if one["kind"] == "sign_in.locked"]
        assert entry["of"] == "address"
        assert "192.0.2" not in json.dumps(house.entries())

"""``/scim/v2`` as directories' programs use it, and as they should not."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from scim_service import Service

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
numbers = itertools.count()


@pytest.fixture
def http(service: Service) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx2.Client(base_url=f"{service.address}/scim/v2", headers=headers, timeout=60) as http:
        yield http


def a_user(http: httpx2.Client, **more: Any) -> dict[str, Any]:
    said = {"schemas": [USER], "userName": f"person {next(numbers)}", **more}
    made = http.post("/Users", json=said)
    assert made.status_code == 201, made.text
    return dict(made.json())


def a_group(http: httpx2.Client, *members: str, **more: Any) -> dict[str, Any]:
    said = {
        "schemas": [GROUP],
        "displayName": f"group {next(numbers)}",
        "members": [{"value": one} for one in members],
        **more,
    }
    made = http.post("/Groups", json=said)
    assert made.status_code == 201, made.text
    return dict(made.json())


def patched(
    http: httpx2.Client, where: str, *operations: dict[str, Any], **headers: str
) -> httpx2.Response:
    body = {"schemas": [PATCH], "Operations": list(operations)}
    return http.patch(where, json=body, headers=headers)


def wrong(response: httpx2.Response, status: int, kind: str | None = None) -> str:
    """The detail of an error, in SCIM's own shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/scim+json"
    body = response.json()
    assert body["schemas"] == [ERROR]
    assert body["status"] == str(status)
    assert body.get("scimType") == kind
    return str(body["detail"])


def test_a_user_is_made_read_and_found_by_name(http: httpx2.Client) -> None:
    made = a_user(
        http,
        externalId="e-1",
        displayName="Anne Example",
        name={"givenName": "Anne", "familyName": "Example"},
        emails=[{"value": "anne@example.com", "type": "work", "primary": True}],
        phoneNumbers=[{"value": "1234"}],
    )
    assert made["active"] is True
    assert "phoneNumbers" not in made
    assert made["meta"]["location"].endswith(f"/scim/v2/Users/{made['id']}")
    again = http.get(f"/Users/{made['id']}")
    assert again.json() == made
    assert again.headers["etag"] == made["meta"]["version"]
    for filter in (
        f'userName eq "{made["userName"].upper()}"',
        f'id eq "{made["id"]}"',
        f'externalId eq "e-1" and userName sw "{made["userName"]}"',
        f'emails[type eq "work"].value eq "anne@example.com" and userName eq "{made["userName"]}"',
    ):
        found = http.get("/Users", params={"filter": filter}).json()
        assert [one["id"] for one in found["Resources"]] == [made["id"]], filter


def test_pages_hold_each_once_and_count_all(http: httpx2.Client) -> None:
    for _ in range(5):
        a_user(http)
    total = http.get("/Users", params={"count": 0}).json()["totalResults"]
    for sort in ({}, {"sortBy": "userName"}, {"sortBy": "userName", "sortOrder": "descending"}):
        seen = []
        for start in range(1, total + 1, 2):
            page = http.get("/Users", params={"startIndex": start, "count": 2, **sort}).json()
            assert page["totalResults"] == total
            assert page["startIndex"] == start
            assert page["itemsPerPage"] == len(page["Resources"])
            seen += [one["id"] for one in page["Resources"]]
        assert len(seen) == len(set(seen)) == total
    beyond = http.get("/Users", params={"startIndex": total + 1}).json()
    assert (beyond["totalResults"], beyond.get("Resources", [])) == (total, [])


def test_a_version_that_has_passed_is_not_changed(http: httpx2.Client) -> None:
    made = a_user(http)
    where, tag = f"/Users/{made['id']}", made["meta"]["version"]
    unchanged = http.get(where, headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    title = {"op": "add", "path": "displayName", "value": "Anne"}
    first = patched(http, where, title, **{"If-Match": tag})
    assert first.status_code == 200
    assert first.headers["etag"] != tag
    other = {**title, "value": "Eve"}
    wrong(patched(http, where, other, **{"If-Match": tag}), 412)
    wrong(http.put(where, json={**made, "displayName": "Eve"}, headers={"If-Match": tag}), 412)
    wrong(http.delete(where, headers={"If-Match": tag}), 412)
    for nonsense in ('"', "7", 'W/"x"', 'W/"1", W/"2"'):
        wrong(http.delete(where, headers={"If-Match": nonsense}), 412)
    assert http.get(where, headers={"If-None-Match": tag}).json()["displayName"] == "Anne"
    assert http.delete(where, headers={"If-Match": first.headers["etag"]}).status_code == 204
    wrong(http.get(where), 404)


@pytest.mark.parametrize(
    "deactivate",
    [
        {"op": "replace", "path": "active", "value": False},
        {"op": "Replace", "path": "active", "value": "False"},  # as Entra writes it
        {"op": "replace", "value": {"active": False}},  # as Okta writes it
    ],
)
def test_who_is_deactivated_is_shut_out_before_the_answer_comes(
    http: httpx2.Client, service: Service, deactivate: dict[str, Any]
) -> None:
    made = a_user(http)
    created = service.casemate("key", "create", "--principal", made["userName"], "--json")
    headers = {"Authorization": f"Bearer {json.loads(created)['key']}"}
    whoami = f"{service.address}/api/whoami"
    assert httpx2.get(whoami, headers=headers).status_code == 200
    assert patched(http, f"/Users/{made['id']}", deactivate).json()["active"] is False
    assert httpx2.get(whoami, headers=headers).status_code == 401


def test_a_group_that_means_something_gives_it_and_takes_it_back(
    http: httpx2.Client, service: Service
) -> None:
    made, other = a_user(http), a_user(http)

    def roles() -> list[str]:
        people = json.loads(service.casemate("user", "list", "--json"))
        (found,) = [one for one in people if one["name"] == made["userName"]]
        return list(found["roles"])

    assert roles() == []
    group = a_group(http, displayName="Registry")
    where = f"/Groups/{group['id']}"
    join = {"op": "add", "path": "members", "value": [{"value": made["id"]}]}
    assert patched(http, where, join).status_code == 200
    assert roles() == ["user"]
    shown = http.get(f"/Users/{made['id']}").json()
    assert [one["display"] for one in shown["groups"]] == ["Registry"]
    patched(http, where, {**join, "value": [{"value": other["id"]}, {"value": made["id"]}]})
    assert len(http.get(where).json()["members"]) == 2
    patched(http, where, {"op": "remove", "path": f'members[value eq "{made["id"]}"]'})
    assert roles() == []
    # As Entra takes somebody out.
    patched(http, where, {"op": "Remove", "path": "members", "value": [{"value": other["id"]}]})
    assert "members" not in http.get(where).json()
    assert http.delete(where).status_code == 204


def test_replacing_keeps_what_the_client_may_not_change(http: httpx2.Client) -> None:
    made = a_user(http, displayName="Anne")
    body = {"schemas": [USER], "id": "another", "userName": made["userName"], "active": True}
    after = http.put(f"/Users/{made['id']}", json=body).json()
    assert (after["id"], after.get("displayName")) == (made["id"], None)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "invalidSyntax"),
        (b"[]", "invalidSyntax"),
        (b'{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"]}', "invalidValue"),
        (b'{"schemas": ["%s"], "userName": 7}' % USER.encode(), "invalidValue"),
        (b'{"schemas": ["%s"], "userName": ""}' % USER.encode(), "invalidValue"),
        (b'{"schemas": ["%s"], "userName": "a\\u0000b"}' % USER.encode(), "invalidValue"),
        (b'{"schemas": ["%s"], "userName": "\\ud800"}' % USER.encode(), "invalidSyntax"),
        (b'{"schemas": ["%s"], "userName": "%s"}' % (USER.encode(), b"x" * 65), "invalidValue"),
    ],
)
def test_a_user_that_is_none_is_refused_in_scims_own_words(
    http: httpx2.Client, body: bytes, kind: str
) -> None:
    wrong(http.post("/Users", content=body), 400, kind)


def test_what_is_taken_is_told_so(http: httpx2.Client) -> None:
    made, group = a_user(http), a_group(http)
    taken = {"schemas": [USER], "userName": made["userName"].upper()}
    wrong(http.post("/Users", json=taken), 409, "uniqueness")
    taken = {"schemas": [GROUP], "displayName": group["displayName"].upper()}
    wrong(http.post("/Groups", json=taken), 409, "uniqueness")


@pytest.mark.parametrize(
    "filter",
    [
        "userName",
        "userName eq",
        "userName xx 1",
        'nothing eq "x"',
        'userName eq "x" and ' * 150 + 'userName eq "x"',
        "active gt true",
        "'; DROP TABLE principals; --",
    ],
)
def test_a_filter_that_is_none_is_refused_and_never_a_fault_of_ours(
    http: httpx2.Client, filter: str
) -> None:
    answer = http.get("/Users", params={"filter": filter})
    wrong(answer, 400, answer.json().get("scimType"))


def test_a_filter_that_is_nested_deeply_is_no_fault_of_ours(http: httpx2.Client) -> None:
    filter = "(" * 900 + 'userName eq "x"' + ")" * 900
    assert http.get("/Users", params={"filter": filter}).status_code in (200, 400)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "explode", "path": "active"},
        {"op": "remove"},
        {"op": "replace", "path": "id", "value": "x"},
        {"op": "add", "path": "emails[", "value": "x"},
        {"op": "replace", "path": "userName", "value": None},
    ],
)
def test_a_patch_that_is_none_changes_nothing(
    http: httpx2.Client, operation: dict[str, Any]
) -> None:
    made = a_user(http)
    where = f"/Users/{made['id']}"
    good = {"op": "add", "path": "displayName", "value": "Eve"}
    answer = patched(http, where, good, operation)
    wrong(answer, 400, answer.json().get("scimType"))
    assert http.get(where).json() == made


def test_a_patch_that_is_too_long_is_refused_unread(http: httpx2.Client) -> None:
    made = a_user(http)
    where = f"/Users/{made['id']}"
    path = "emails[" + " and ".join(['value eq "x"'] * 500) + "].display"
    wrong(patched(http, where, {"op": "replace", "path": path, "value": "x"}), 400, "tooMany")
    one = {"op": "replace", "path": "displayName", "value": "x"}
    wrong(patched(http, where, *[one] * 1001), 400, "tooMany")


def test_members_whom_nobody_knows_are_refused(http: httpx2.Client) -> None:
    said = {"schemas": [GROUP], "displayName": "x", "members": [{"value": "nobody"}]}
    wrong(http.post("/Groups", json=said), 400, "invalidValue")


def test_a_group_in_a_group_is_refused_so_that_none_goes_in_circles(http: httpx2.Client) -> None:
    made = a_group(http)
    said = {"schemas": [GROUP], "displayName": "around", "members": [{"value": made["id"]}]}
    wrong(http.post("/Groups", json=said), 400, "invalidValue")
    itself = {"op": "add", "path": "members", "value": [{"value": made["id"]}]}
    wrong(patched(http, f"/Groups/{made['id']}", itself), 400, "invalidValue")


@pytest.mark.parametrize("path", ["/Users", "/Groups", "/Schemas", "/ServiceProviderConfig"])
def test_without_the_key_of_a_service_that_may_provision_there_is_nothing(
    service: Service, path: str
) -> None:
    address = f"{service.address}/scim/v2{path}"
    wrong(httpx2.get(address), 401)
    wrong(httpx2.get(address, headers={"Authorization": "Bearer cm_no"}), 401)
    owner = json.loads(service.casemate("status", "--json"))["principal"]
    key = json.loads(service.casemate("key", "create", "--principal", owner, "--json"))["key"]
    wrong(httpx2.get(address, headers={"Authorization": f"Bearer {key}"}), 403)


def test_other_addresses_and_methods_are_refused_in_scims_own_shape(http: httpx2.Client) -> None:
    wrong(http.get("/Nothing"), 404)
    wrong(http.get("/Users/nobody"), 404)
    wrong(http.get("/Schemas/urn:nothing"), 404)
    wrong(http.delete("/Users"), 405)
    wrong(http.post("/Bulk", json={}), 404)
    wrong(http.get("/Schemas", params={"filter": 'id eq "x"'}), 403)

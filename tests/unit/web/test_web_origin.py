from __future__ import annotations

import pytest
from starlette.requests import Request

from casemate.errors import Refused
from casemate.web.origin import local_path, require_same_origin


def a_request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw})


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://casemate.lu:8470", "host": "casemate.lu:8470"},
        {"origin": "https://outside.lu", "host": "inside:8470"},
    ],
)
def test_our_own_pages_may_send_forms(headers: dict[str, str]) -> None:
    require_same_origin(a_request(**headers), "https://outside.lu")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://casemate.lu", "host": "casemate.lu"},
        {"origin": "http://evil.example", "host": "casemate.lu"},
        {"origin": "null", "host": "casemate.lu"},
        {"origin": "http://casemate.lu:81", "host": "casemate.lu"},
    ],
)
def test_other_pages_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(Refused):
        require_same_origin(a_request(**headers))


@pytest.mark.parametrize("path", ["/", "/runs/r_1?x=1", "/documents?start=1&end=2"])
def test_a_path_of_ours_is_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "runs",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/a\r\nX: y",
        "/a\\b",
    ],
)
def test_a_way_to_another_site_is_not(path: str) -> None:
    assert local_path(path) == "/"

"""The head of a request over HTTP/2: read strictly, and put as ASGI has it."""

from __future__ import annotations

import pytest
from http2_builders import Fields, a_request

from casemate.api.bounds import LARGE_HEADERS, LONG_ADDRESS, Bounds, Unfit
from casemate.api.http2_head import MALFORMED, Head, check, dialect_path

BOUNDS = Bounds(address_bytes=100, header_bytes=1000, headers=10)


def read(fields: Fields) -> Head:
    return Head.parse(fields, BOUNDS)


def refused(fields: Fields) -> Unfit:
    with pytest.raises(Unfit) as caught:
        read(fields)
    return caught.value


def without(name: bytes) -> Fields:
    return [field for field in a_request() if field[0] != name]


def test_the_parts_of_a_request_are_found() -> None:
    head = read(a_request("/a%20b/c?d=%26", method="POST", x_one="1"))
    assert (head.method, head.path, head.raw_path) == ("POST", "/a b/c", b"/a%20b/c")
    assert head.query == b"d=%26"
    assert head.headers == [(b"host", b"casemate.example"), (b"x-one", b"1")]
    assert not head.expects


def test_crumbs_of_a_cookie_are_put_together() -> None:
    fields = [*a_request(), (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")]
    assert read(fields).headers[1:] == [(b"x", b"y"), (b"cookie", b"a=1; b=2")]


def test_the_host_is_the_authority_or_the_header_and_never_two() -> None:
    host = (b"host", b"casemate.example")
    assert read([*a_request(), host]).headers == [host]
    assert read([*without(b":authority"), (b"x", b"y"), host]).headers == [host, (b"x", b"y")]
    for fields in (
        without(b":authority"),
        [*a_request(), (b"host", b"other.example")],
        [*a_request(), host, host],
        [*without(b":authority"), (b":authority", b"who@casemate.example")][::-1],
    ):
        assert refused(fields) is MALFORMED


def test_who_waits_to_be_told_to_go_on_is_known() -> None:
    assert read(a_request(expect="100-Continue")).expects


@pytest.mark.parametrize(
    "fields",
    [
        without(b":method"),
        without(b":path"),
        without(b":scheme"),
        [*a_request(), (b":method", b"GET")],
        [*a_request(), (b":path", b"/")],
        [(b"x", b"y"), *a_request()],
        [*a_request(), (b":status", b"200")],
        [*a_request(), (b":protocol", b"websocket")],
        [*a_request(), (b":else", b"1")],
        a_request(""),
        a_request("no/slash"),
        a_request("*"),
        a_request("http://elsewhere.example/"),
        a_request("/fragment#here"),
        a_request("/a b"),
        a_request("/é"),
        a_request("/\n"),
        a_request(method=""),
        a_request(method="GE T"),
        a_request(method="GET\r\n"),
        [(name, b"ftp" if name == b":scheme" else value) for name, value in a_request()],
    ],
)
def test_what_no_request_may_be_is_malformed(fields: Fields) -> None:
    assert refused(fields) is MALFORMED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"connection", b"close"),
        (b"keep-alive", b"5"),
        (b"proxy-connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"", b"no name"),
        (b"Upper", b"x"),
        (b"with space", b"x"),
        (b"with:colon", b"x"),
        (b"with\xff", b"x"),
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\x00b"),
        (b"x", b"\x7f"),
        (b"x", b" led"),
        (b"x", b"followed\t"),
    ],
)
def test_a_field_that_could_be_read_in_two_ways_is_malformed(name: bytes, value: bytes) -> None:
    assert refused([*a_request(), (name, value)]) is MALFORMED


def test_trailers_may_be_accepted_in_answers() -> None:
    check(b"te", b"trailers")


def test_what_is_too_large_is_told_from_what_is_malformed() -> None:
    assert refused(a_request("/" + "a" * 100)) is LONG_ADDRESS
    assert refused(a_request(x="y" * 1000)) is LARGE_HEADERS
    assert refused(a_request(**{f"x_{n}": "y" for n in range(10)})) is LARGE_HEADERS
    assert len(read(a_request(**{f"x_{n}": "y" for n in range(9)})).headers) == 10


def test_a_tunnel_is_not_offered() -> None:
    assert (
        refused([(b":method", b"CONNECT"), (b":authority", b"elsewhere.example:443")]).status == 501
    )
    assert refused(a_request(method="CONNECT")) is MALFORMED
    extended = [*a_request(method="CONNECT"), (b":protocol", b"websocket")]
    assert refused(extended) is MALFORMED


def test_options_may_be_of_the_whole_server() -> None:
    assert read(a_request("*", method="OPTIONS")).path == "*"


def test_a_refusal_is_in_the_dialect_of_what_can_be_read() -> None:
    assert dialect_path(a_request("/v1/models?x")) == "/v1/models"
    assert dialect_path([(b":method", b"GET")]) == "/"

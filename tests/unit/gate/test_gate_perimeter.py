from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Invalid, Refused, Unavailable
from casemate.gate.address import Address
from casemate.gate.country import Country
from casemate.gate.perimeter import Perimeter
from casemate.gate.place import Entry, checked, declared, written

LU = Country.load("lu")
OPEN = LU.policy.lowest()
RESTRICTED = LU.policy.parse("restricted")

PLACES = """
[[place]]
name = "models"
host = "llm.example.lu"
ports = [8000]
jurisdiction = "LU"
ceiling = "lu:restricted"

[[place]]
name = "rack"
host = "10.1.0.0/16"
ports = [80, 8000]
jurisdiction = "LU"
ceiling = "lu:restricted"

[[place]]
name = "guest"
host = "10.1.2.3"
ports = [8000]
jurisdiction = "LU"
ceiling = "lu:unclassified"

[[place]]
name = "here"
host = "localhost"
ports = [11434]
jurisdiction = "LU"
ceiling = "lu:secret"

[[place]]
name = "six"
host = "2001:db8::/32"
ports = [443]
jurisdiction = "LU"
ceiling = "lu:restricted"

[[place]]
name = "everything"
host = "0.0.0.0/0"
ports = [81]
jurisdiction = "LU"
ceiling = "lu:unclassified"

[[place]]
name = "socket"
host = "/run/llama/one.sock"
jurisdiction = "LU"
ceiling = "lu:secret"
"""


def a_perimeter(tmp_path: Path, text: str = PLACES, *answers: str) -> Perimeter:
    path = tmp_path / "perimeter.toml"
    path.write_text(text)
    return Perimeter.load(path, LU, resolve=lambda host, port: answers or ("10.9.9.9",))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://llm.example.lu:8000/v1", "models"),
        ("https://LLM.Example.LU:8000/v1?x=1", "models"),
        ("http://10.1.0.7:8000", "rack"),
        ("http://10.1.0.7/", "rack"),
        ("https://[2001:db8::1]/v1", "six"),
        ("https://[2001:DB8:0:0::1]:443/v1", "six"),
        ("http://192.0.2.1:81/", "everything"),
        ("unix:///run/llama/one.sock", "socket"),
    ],
)
def test_what_is_declared_is_reached(tmp_path: Path, url: str, place: str) -> None:
    assert a_perimeter(tmp_path).check(url, OPEN).name == place


@pytest.mark.parametrize(
    "url",
    [
        # not declared: host, port, scheme, subdomain, socket
        "http://other.example.lu:8000/",
        "http://llm.example.lu/",
        "http://llm.example.lu:8001/",
        "http://10.1.0.7:8080/",
        "http://10.2.0.7:8000/",
        "http://x.llm.example.lu:8000/",
        "http://llm.example.lu.evil.org:8000/",
        "ftp://llm.example.lu:8000/",
        "file:///etc/passwd",
        "//llm.example.lu:8000/",
        "llm.example.lu:8000",
        "",
        "unix:///run/llama/two.sock",
        "unix:///run/llama/../llama/one.sock",
        "unix:///run/llama//one.sock",
        "unix:///run/llama/%6fne.sock",
        "unix://run/llama/one.sock",
        "unix:run/llama/one.sock",
        "unix:///run/llama/one.sock?x",
        # userinfo
        "http://llm.example.lu:8000@evil.org/",
        "http://user:password@llm.example.lu:8000/",
        "http://@llm.example.lu:8000/",
        "http://evil.org#@llm.example.lu:8000/",
        "http://evil.org\\@llm.example.lu:8000/",
        # other spellings of a host
        "http://llm.example.lu.:8000/",
        "http://llm%2eexample.lu:8000/",
        "http://llm。example.lu:8000/",
        "http://ⅼlm.example.lu:8000/",
        "http://llm.example.lu :8000/",
        "http://llm.exam\tple.lu:8000/",
        "http://llm.exam\nple.lu:8000/",
        "http://llm.example.lu\x00:8000/",
        "http://-llm.example.lu:8000/",
        "http://.llm.example.lu:8000/",
        "http:///v1",
        # other spellings of an IP
        "http://167837703:8000/",
        "http://0x0a010007:8000/",
        "http://10.1.7:8000/",
        "http://10.1.0.07:8000/",
        "http://012.1.0.7:8000/",
        "http://10.1.0.7.:8000/",
        "http://0xa.1.0.7:8000/",
        "http://10.1.0.256:8000/",
        "http://１０.1.0.7:8000/",
        "http://[::ffff:10.1.0.7]:8000/",
        "http://[::ffff:a01:7]:8000/",
        "http://[::10.1.0.7]:8000/",
        "http://[64:ff9b::10.1.0.7]:8000/",
        "http://[2002:a01:7::]:8000/",
        "https://[2001:db8::1%25eth0]/",
        "https://[2001:db8::1%eth0]/",
        "https://[2001:db8::1/",
        "https://x[2001:db8::1]/",
        "https://[2001:db8::1]x/",
        # ports
        "http://llm.example.lu:08000/",
        "http://llm.example.lu:+8000/",
        "http://llm.example.lu:８０００/",
        "http://llm.example.lu:8000:8000/",
        "http://llm.example.lu:73536/",
        "http://10.1.0.7:/",
        "http://10.1.0.7:0/",
        # special addresses, though a network that holds them is declared
        "http://169.254.169.254:81/latest/meta-data",
        "http://100.100.100.200:81/",
        "http://168.63.129.16:81/",
        "http://0.0.0.0:81/",
        "http://224.0.0.1:81/",
        "http://255.255.255.255:81/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
    ],
)
def test_every_way_around_the_perimeter_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Refused) as caught:
        a_perimeter(tmp_path).check(url, OPEN)
    assert caught.value.next
    assert "password" not in caught.value.what or "carries" in caught.value.what


def test_an_empty_perimeter_refuses_everything(tmp_path: Path) -> None:
    perimeter = Perimeter.load(tmp_path / "perimeter.toml", LU)
    for url in ("http://localhost:80/", "https://example.lu/", "unix:///run/x.sock"):
        with pytest.raises(Refused):
            perimeter.check(url, OPEN)


@pytest.mark.parametrize(
    "answer",
    ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "127.0.0.1", "::1",
     "0.0.0.0", "100.100.100.200"],
)  # fmt: skip
def test_a_declared_name_that_leads_somewhere_special_is_refused(
    tmp_path: Path, answer: str
) -> None:
    perimeter = a_perimeter(tmp_path, PLACES, "10.9.9.9", answer)
    with pytest.raises(Refused):
        perimeter.check("http://llm.example.lu:8000/", OPEN)


def test_localhost_may_lead_to_this_machine(tmp_path: Path) -> None:
    perimeter = a_perimeter(tmp_path, PLACES, "127.0.0.1", "::1")
    route = perimeter.route("http://localhost:11434/v1", OPEN)
    assert route.addresses == ("127.0.0.1", "::1")


def test_who_connects_gets_the_very_addresses_that_were_checked(tmp_path: Path) -> None:
    answers = iter([["10.9.9.9"], ["169.254.169.254"]])
    path = tmp_path / "perimeter.toml"
    path.write_text(PLACES)
    perimeter = Perimeter.load(path, LU, resolve=lambda host, port: next(answers))
    route = perimeter.route("http://llm.example.lu:8000/", OPEN)
    assert (route.host, route.port, route.addresses) == ("llm.example.lu", 8000, ("10.9.9.9",))
    with pytest.raises(Refused):
        perimeter.check("http://llm.example.lu:8000/", OPEN)


def test_a_name_without_an_address_is_said_to_be_unavailable(tmp_path: Path) -> None:
    def nothing(host: str, port: int) -> list[str]:
        raise OSError

    path = tmp_path / "perimeter.toml"
    path.write_text(PLACES)
    perimeter = Perimeter.load(path, LU, resolve=nothing)
    with pytest.raises(Unavailable, match=r"llm\.example\.lu"):
        perimeter.check("http://llm.example.lu:8000/", OPEN)
    assert perimeter.declared("http://llm.example.lu:8000/", OPEN).name == "models"


def test_a_label_above_the_ceiling_stays_inside(tmp_path: Path) -> None:
    perimeter = a_perimeter(tmp_path)
    assert perimeter.check("http://llm.example.lu:8000/", RESTRICTED)
    with pytest.raises(Refused, match="lu:secret may not go to place 'models'"):
        perimeter.check("http://llm.example.lu:8000/", LU.policy.parse("secret"))
    with pytest.raises(Refused):
        perimeter.check("http://llm.example.lu:8000/", LU.policy.parse("restricted/alpha"))


def test_the_narrowest_place_rules(tmp_path: Path) -> None:
    perimeter = a_perimeter(tmp_path)
    assert perimeter.check("http://10.1.2.4:8000/", RESTRICTED).name == "rack"
    with pytest.raises(Refused, match="guest"):
        perimeter.check("http://10.1.2.3:8000/", RESTRICTED)


ONE = """
[[place]]
name = "one"
host = "llm.example.lu"
ports = [8000]
jurisdiction = "LU"
ceiling = "lu:restricted"
"""


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("[[place]]", "[[plaice]]", "plaice"),
        ('name = "one"', 'name = ""', "no usable name"),
        ('name = "one"', 'name = "a\'b"', "no usable name"),
        ("llm.example.lu", "LLM.example.lu", "Place 'one': .*is not a host"),
        ("llm.example.lu", "*.example.lu", "is not a host"),
        ("llm.example.lu", "llm.example.lu.", "is not a host"),
        ("llm.example.lu", "http://llm.example.lu", "is not a host"),
        ("llm.example.lu", "10.1", "not written plainly"),
        ("llm.example.lu", "10.1.2.3/16", "is not a host"),
        ("llm.example.lu", "169.254.169.254", "never reached"),
        ("llm.example.lu", "::ffff:10.0.0.1", "never reached"),
        ("llm.example.lu", "/run/../x", "is not a host"),
        ("llm.example.lu", "/run/x", "a socket has no ports"),
        ("[8000]", "[]", "needs ports"),
        ("[8000]", "[0]", "needs ports"),
        ("[8000]", "[70000]", "needs ports"),
        ("[8000]", '"all"', "ports"),
        ('"LU"', '"Luxembourg"', "jurisdiction"),
        ("lu:restricted", "lu:geheim", "Place 'one': .*'geheim'"),
        ("lu:restricted", "xato:secret", "Place 'one': .*'xato'"),
        ('ceiling = "lu:restricted"', "", "ceiling"),
        ("[8000]", "[8000", "not usable"),
    ],
)
def test_a_broken_perimeter_file_is_refused_by_place(
    tmp_path: Path, old: str, new: str, wrong: str
) -> None:
    assert old in ONE
    with pytest.raises(Invalid, match=wrong):
        a_perimeter(tmp_path, ONE.replace(old, new, 1))


def test_two_places_of_one_name_or_one_address_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="two places called 'one'"):
        a_perimeter(tmp_path, ONE + ONE)
    with pytest.raises(Invalid, match="are the same place"):
        a_perimeter(tmp_path, ONE + ONE.replace('"one"', '"two"'))
    other_port = ONE.replace('"one"', '"two"').replace("8000", "9000")
    assert len(a_perimeter(tmp_path, ONE + other_port).places) == 2


def test_a_perimeter_opened_to_look_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="looking only"):
        a_perimeter(tmp_path).remove(None, "one")  # type: ignore[arg-type]


# Buckets, networks that names are pinned to, datagrams


PINNED = ONE.replace("ports = [8000]", 'ports = [8000]\nwithin = ["10.1.0.0/16", "2001:db8::/32"]')


@pytest.mark.parametrize("answer", ["10.1.2.3", "2001:db8::7"])
def test_a_pinned_name_leads_into_its_networks(tmp_path: Path, answer: str) -> None:
    perimeter = a_perimeter(tmp_path, PINNED, answer)
    assert perimeter.route("http://llm.example.lu:8000/", OPEN).addresses == (answer,)


@pytest.mark.parametrize("answer", ["10.2.0.1", "8.8.8.8", "2001:db9::1"])
def test_a_pinned_name_that_leads_out_of_its_networks_is_refused(
    tmp_path: Path, answer: str
) -> None:
    perimeter = a_perimeter(tmp_path, PINNED, "10.1.2.3", answer)
    with pytest.raises(Refused, match="out of the networks"):
        perimeter.route("http://llm.example.lu:8000/", OPEN)


BUCKET = ONE + 'bucket = "letters"\n'


def test_a_declared_bucket_is_that_bucket_at_that_server_and_nothing_else(tmp_path: Path) -> None:
    perimeter = a_perimeter(tmp_path, BUCKET)
    server = "http://llm.example.lu:8000"
    assert perimeter.bucket("letters", server, OPEN).name == "one"
    for bucket, endpoint in (("other", server), ("letters", "http://llm.example.lu"), ("", server)):
        with pytest.raises(Refused):
            perimeter.bucket(bucket, endpoint, OPEN)
    with pytest.raises(Refused):
        perimeter.declared(f"{server}/letters/x", OPEN)
    with pytest.raises(Refused, match="ceiling"):
        perimeter.bucket("letters", server, LU.policy.parse("secret"))


def test_a_server_that_is_declared_is_not_thereby_declared_for_buckets(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        a_perimeter(tmp_path, ONE).bucket("letters", "http://llm.example.lu:8000", OPEN)


def test_datagrams_and_connections_are_declared_apart(tmp_path: Path) -> None:
    perimeter = a_perimeter(tmp_path, ONE + 'transports = ["udp"]\n')
    assert perimeter.declared("udp://llm.example.lu:8000", OPEN).name == "one"
    for url in ("tcp://llm.example.lu:8000", "tls://llm.example.lu:8000", "udp://llm.example.lu:9"):
        with pytest.raises(Refused):
            perimeter.declared(url, OPEN)


@pytest.mark.parametrize(
    ("url", "port"), [("ldap://llm.example.lu", 389), ("ldaps://llm.example.lu/", 636)]
)
def test_directories_have_their_usual_ports(tmp_path: Path, url: str, port: int) -> None:
    perimeter = a_perimeter(tmp_path, ONE.replace("8000", str(port)))
    assert perimeter.route(url, OPEN).port == port


def test_an_address_without_a_usual_port_names_one(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="names its port"):
        a_perimeter(tmp_path, ONE).declared("tls://llm.example.lu", OPEN)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('within = ["10.1.0.1/16"]', "is not a network"),
        ('within = ["everywhere"]', "is not a network"),
        ('transports = ["sctp"]', "transports"),
        ("transports = []", "transports"),
        ('bucket = "Letters"', "name of a bucket"),
        ('bucket = "letters/x"', "name of a bucket"),
        ('bucket = "10.0.0.1"', "name of a bucket"),
        ('bucket = "a..b"', "name of a bucket"),
        ('color = "red"', "color"),
    ],
)
def test_what_is_wrong_in_a_place_is_named(tmp_path: Path, line: str, wrong: str) -> None:
    with pytest.raises(Invalid, match=wrong):
        a_perimeter(tmp_path, ONE + line)


def test_an_address_is_not_pinned_and_a_socket_has_no_bucket(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="leads nowhere else"):
        a_perimeter(tmp_path, PINNED.replace("llm.example.lu", "10.1.2.3"))
    socket = ONE.replace("llm.example.lu", "/run/x.sock").replace("ports = [8000]", "")
    with pytest.raises(Invalid, match="neither networks nor a bucket"):
        a_perimeter(tmp_path, socket + 'bucket = "letters"')


labels = st.sampled_from(["unclassified", "restricted", "secret"])


@given(
    name=st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True),
    host=st.sampled_from(["llm.example.lu", "10.1.0.0/16", "2001:db8::1", "/run/x.sock"]),
    ports=st.sets(st.integers(1, 65535), min_size=1, max_size=4),
    within=st.lists(st.sampled_from(["10.0.0.0/8", "2001:db8::/32"]), unique=True),
    transports=st.sampled_from([["tcp"], ["udp"], ["tcp", "udp"]]),
    bucket=st.sampled_from(["", "letters"]),
    ceiling=labels,
)
def test_what_is_written_is_read_back_the_same(
    name: str,
    host: str,
    ports: set[int],
    within: list[str],
    transports: list[str],
    bucket: str,
    ceiling: str,
) -> None:
    if host.startswith("/"):
        ports, within, bucket, transports = set(), [], "", ["tcp"]
    if host != "llm.example.lu":
        within = []
    entry = Entry(name, host, "LU", f"lu:{ceiling}", list(ports), within, tuple(transports), bucket)
    place = checked(entry, LU)
    assert declared(written([place]), LU) == (place,)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_gives_places_or_one_named_error(content: bytes) -> None:
    with contextlib.suppress(Invalid):
        declared(content, LU)


@given(st.text(max_size=80) | st.from_regex(r"https?://[0-9a-fx.:\[\]%@]{1,40}(/.*)?"))
def test_any_address_leads_to_a_plain_place_or_is_refused(url: str) -> None:
    try:
        found = Address.parse(url)
    except Refused:
        return
    if found.ip is not None:
        assert str(found.ip) == found.host
        assert not found.ip.is_link_local
        assert not found.ip.is_multicast
        assert not found.ip.is_unspecified

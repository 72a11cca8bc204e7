from __future__ import annotations

from pathlib import Path

import pytest

from casemate.errors import Invalid, Refused, Unavailable
from casemate.gate.country import Country
from casemate.gate.perimeter import Perimeter

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

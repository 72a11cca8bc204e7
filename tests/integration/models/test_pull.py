"""Pulling from a hub on loopback: whole, resumed, pinned, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from house_builders import House
from hub_server import COMMIT, LARGE, SMALL, HubServer

from casemate.errors import (
    CasemateError,
    Conflict,
    Invalid,
    NotFound,
    Refused,
    Tampered,
    TooLarge,
    Unavailable,
)
from casemate.gate.perimeter import Perimeter, Route
from casemate.models.hub import Hub
from casemate.models.pull import Pulled, Step, pull

WEIGHTS = "tiny.safetensors"


@dataclass
class Nowhere:
    """An address in place of a server."""

    address: str


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def perimeter(house: House, hub_server: HubServer) -> Perimeter:
    """One place: the hub, with its port."""
    declare(house, "hub", hub_server)
    return house.installation.gate.perimeter


def declare(house: House, name: str, server: HubServer) -> None:
    house.installation.gate.perimeter.add(
        house.owner,
        name=name,
        host="127.0.0.1",
        ports=[server.port],
        jurisdiction="LU",
        ceiling=house.label("unclassified"),
    )


def pulled(
    server: HubServer,
    perimeter: Perimeter,
    folder: Path,
    waits: list[float] | None = None,
    **more: Any,
) -> tuple[Pulled, list[Step]]:
    lowest = perimeter.places[0].ceiling

    async def wait(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    def route(url: str) -> Route:
        return perimeter.route(url, lowest)

    async def follow() -> list[Any]:
        async with Hub(server.address, route, token=more.pop("token", ""), wait=wait) as hub:
            options = {"revision": "main", "include": (), "most_bytes": 1 << 30, "now": "T", **more}
            return [step async for step in pull(hub, "maker/tiny", folder, **options)]

    *steps, last = asyncio.run(follow())
    assert isinstance(last, Pulled)
    return last, steps


def test_the_files_of_a_commit_are_pulled_and_recorded(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    last, steps = pulled(hub_server, perimeter, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "pull.json",
        WEIGHTS,
    ]
    assert (folder / WEIGHTS).read_bytes() == LARGE
    assert (folder / "config.json").read_bytes() == SMALL
    record = json.loads((folder / "pull.json").read_bytes())
    digest = f"sha256:{hashlib.sha256(LARGE).hexdigest()}"
    assert record["commit"] == last.commit == COMMIT
    assert record["files"][WEIGHTS] == {"size": len(LARGE), "sha256": digest, "checked": "sha256"}
    assert record["files"]["config.json"]["checked"] == "git-sha1"
    assert last.files[WEIGHTS] == digest
    assert (
        last.record == f"sha256:{hashlib.sha256((folder / 'pull.json').read_bytes()).hexdigest()}"
    )
    assert steps[-1].done == steps[-1].total == len(LARGE) + len(SMALL)
    # The list was asked of the branch, the files of the commit that it was then.
    assert [path.split("/tiny/")[1] for path in hub_server.paths] == [
        "revision/main?blobs=true",
        f"resolve/{COMMIT}/config.json",
        f"resolve/{COMMIT}/{WEIGHTS}",
    ]


def test_a_cut_connection_is_gone_on_with(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    hub_server.cut = [100_000, 50_000]
    waits: list[float] = []
    last, _ = pulled(hub_server, perimeter, tmp_path / "tiny", waits)
    asked = [headers for path, headers in hub_server.asked if path.endswith(WEIGHTS)]
    assert [one.get("Range") for one in asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert {one.get("If-Range") for one in asked[1:]} == {'"one"'}
    assert len(waits) == 2
    assert last.files[WEIGHTS].endswith(hashlib.sha256(LARGE).hexdigest())


def test_the_next_command_goes_on_where_this_one_gave_up(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    hub_server.cut = [10_000] * 6
    with pytest.raises(Unavailable, match="stopped answering"):
        pulled(hub_server, perimeter, tmp_path / "tiny")
    assert not (tmp_path / "tiny" / WEIGHTS).exists()
    hub_server.asked.clear()
    pulled(hub_server, perimeter, tmp_path / "tiny")
    asked = {path.rsplit("/", 1)[1]: headers.get("Range") for path, headers in hub_server.asked[1:]}
    assert asked == {WEIGHTS: "bytes=60000-"}  # and config.json was not fetched again
    assert (tmp_path / "tiny" / WEIGHTS).read_bytes() == LARGE


@pytest.mark.parametrize("change", ["another validator", "a weak one", "no ranges"])
def test_a_file_that_may_have_changed_is_begun_anew(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path, change: str
) -> None:
    if change == "a weak one":
        hub_server.etag = 'W/"one"'
    hub_server.cut = [10_000] * 6
    with pytest.raises(Unavailable):
        pulled(hub_server, perimeter, tmp_path / "tiny")
    if change == "another validator":
        hub_server.etag = '"two"'
    hub_server.ranges = change != "no ranges"
    pulled(hub_server, perimeter, tmp_path / "tiny")
    assert (tmp_path / "tiny" / WEIGHTS).read_bytes() == LARGE


@pytest.mark.parametrize("path", [WEIGHTS, "config.json"])
def test_a_wrong_checksum_is_refused_and_nothing_of_it_is_kept(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path, path: str
) -> None:
    whole = hub_server.files[path]
    said = hub_server._about(path)
    hub_server.listed = {path: said}
    hub_server.files[path] = whole[:-1] + b"X"
    with pytest.raises(Tampered, match="not what the hub's own list"):
        pulled(hub_server, perimeter, tmp_path / "tiny")
    assert not (tmp_path / "tiny" / path).exists()
    hub_server.files[path] = whole
    pulled(hub_server, perimeter, tmp_path / "tiny")


@pytest.mark.parametrize("more", [1, -1])
def test_another_length_than_the_list_says_is_refused(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path, more: int
) -> None:
    hub_server.listed = {"config.json": {"size": len(SMALL) + more}}
    with pytest.raises(Tampered, match="another length"):
        pulled(hub_server, perimeter, tmp_path / "tiny")


def test_a_redirect_inside_the_perimeter_is_followed_without_the_token(
    hub_server: HubServer, perimeter: Perimeter, house: House, tmp_path: Path
) -> None:
    with HubServer() as storage:
        declare(house, "storage", storage)
        hub_server.elsewhere, hub_server.token = storage.address, "hf_secret"
        pulled(hub_server, perimeter, tmp_path / "tiny", token="hf_secret")
        [(path, headers)] = storage.asked
    assert path == f"/stored/{WEIGHTS}?signed=%22a%2Fb%22"
    assert "Authorization" not in headers
    assert (tmp_path / "tiny" / WEIGHTS).read_bytes() == LARGE


def test_a_redirect_outside_the_perimeter_is_refused(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    with HubServer() as outside:
        hub_server.elsewhere = outside.address
        with pytest.raises(Refused, match=r"sends its files from 127\.0\.0\.1.*outside") as refusal:
            pulled(hub_server, perimeter, tmp_path / "tiny")
        assert outside.asked == []
    assert "casemate perimeter add" in refusal.value.next


def test_redirects_in_circles_end(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    hub_server.elsewhere = f"{hub_server.address}/maker/tiny/resolve/{COMMIT}/{WEIGHTS}?"
    with pytest.raises(Unavailable, match="circles"):
        pulled(hub_server, perimeter, tmp_path / "tiny")


def test_a_hub_outside_the_perimeter_is_not_asked(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    with HubServer() as outside:
        with pytest.raises(Refused, match="cannot be used") as refusal:
            pulled(outside, perimeter, tmp_path / "tiny")
        assert outside.asked == []
    assert "--from" in refusal.value.next
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_revision_is_pinned_to_its_commit(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path, revision: str
) -> None:
    last, _ = pulled(hub_server, perimeter, tmp_path / "tiny", revision=revision)
    assert last.commit == COMMIT
    hub_server.commit = "f" * 40
    with pytest.raises((Conflict, NotFound)):
        pulled(hub_server, perimeter, tmp_path / "tiny", revision=revision)


def test_a_hub_that_offers_another_commit_than_the_one_asked_for_is_refused(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    hub_server.listed = {"": {"sha": "e" * 40}}
    with pytest.raises(Invalid, match="which commit"):
        pulled(hub_server, perimeter, tmp_path / "tiny", revision=COMMIT)


@pytest.mark.parametrize(
    ("statuses", "error"),
    [([404], NotFound), ([401], Refused), ([403], Refused), ([418], Unavailable)],
)
def test_what_is_final_is_not_tried_again(
    hub_server: HubServer,
    perimeter: Perimeter,
    tmp_path: Path,
    statuses: list[int],
    error: type[CasemateError],
) -> None:
    hub_server.statuses = statuses
    with pytest.raises(error):
        pulled(hub_server, perimeter, tmp_path / "tiny")
    assert len(hub_server.asked) == 1


def test_passing_faults_are_waited_for_as_long_as_the_hub_asks(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    hub_server.statuses = [503, 429, 200, 502]
    waits: list[float] = []
    pulled(hub_server, perimeter, tmp_path / "tiny", waits)
    assert waits == [7.0, 7.0, 7.0]


def test_a_hub_that_is_down_is_given_up(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    hub_server.statuses = [503] * 100
    waits: list[float] = []
    with pytest.raises(Unavailable, match="status 503"):
        pulled(hub_server, perimeter, tmp_path / "tiny", waits)
    assert len(waits) == 5


def test_pickles_are_refused_by_name_before_anything_is_fetched(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    hub_server.files["pytorch_model.bin"] = b"x"
    with pytest.raises(Refused, match=r"pytorch_model\.bin") as refusal:
        pulled(hub_server, perimeter, tmp_path / "tiny")
    assert "--include" in refusal.value.next
    assert len(hub_server.asked) == 1
    last, _ = pulled(hub_server, perimeter, tmp_path / "tiny", include=["*.safetensors", "*.json"])
    assert set(last.files) == {"config.json", WEIGHTS}


@pytest.mark.parametrize(
    "path",
    ["../out.json", "/etc/x.json", "a/../b.json", "a//b.json", "./a.json", "a\\b.json", "a/.", "é"],
)
def test_a_path_that_leads_elsewhere_is_refused(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path, path: str
) -> None:
    hub_server.files[path] = b"{}"
    with pytest.raises(Invalid, match="not a plain relative path"):
        pulled(hub_server, perimeter, tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ({"": {"siblings": None}}, "not usable"),
        ({"": {"sha": "main"}}, "which commit"),
        ({"config.json": {"blobId": None}}, "no size or digest"),
        ({"config.json": {"size": None}}, "no size or digest"),
        ({"config.json": {"size": -1}}, "no size or digest"),
        ({"config.json": {"rfilename": WEIGHTS}}, "two files"),
        ({"config.json": {"rfilename": f"{WEIGHTS}/x"}}, "two files"),
        ({WEIGHTS: {"lfs": {"sha256": "0", "size": 1}}}, "no size or digest"),
    ],
)
def test_a_list_that_cannot_be_relied_on_is_refused(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path, listed: Any, says: str
) -> None:
    hub_server.listed = listed
    with pytest.raises(Invalid, match=says):
        pulled(hub_server, perimeter, tmp_path / "tiny")


def test_more_than_was_allowed_is_refused_before_it_is_fetched(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    with pytest.raises(TooLarge):
        pulled(hub_server, perimeter, tmp_path / "tiny", most_bytes=len(LARGE))
    assert len(hub_server.asked) == 1


def test_a_folder_with_other_files_is_left_alone(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "diary.txt").write_text("mine")
    with pytest.raises(Conflict, match="other files"):
        pulled(hub_server, perimeter, tmp_path / "tiny")
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["diary.txt"]


def test_a_file_that_was_changed_since_is_not_overwritten(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    pulled(hub_server, perimeter, tmp_path / "tiny")
    (tmp_path / "tiny" / "config.json").write_text("{}")
    with pytest.raises(Conflict, match=r"config\.json"):
        pulled(hub_server, perimeter, tmp_path / "tiny")


def test_a_glob_that_fits_nothing_is_said(
    hub_server: HubServer, perimeter: Perimeter, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=r"\*\.gguf"):
        pulled(hub_server, perimeter, tmp_path / "tiny", include=["*.gguf"])


@pytest.mark.parametrize("address", ["unix:///run/hub.sock", "ftp://127.0.0.1", "hub", ""])
def test_an_address_that_is_no_hub_is_refused_at_once(
    house: House, perimeter: Perimeter, tmp_path: Path, address: str
) -> None:
    house.installation.gate.perimeter.add(
        house.owner,
        name="socket",
        host="/run/hub.sock",
        jurisdiction="LU",
        ceiling=house.label("unclassified"),
    )
    with pytest.raises((Invalid, Refused)):
        pulled(Nowhere(address), perimeter, tmp_path / "tiny")  # type: ignore[arg-type]


def test_a_hub_that_is_not_there_is_unavailable(house: House, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = HubServer(port=unused.getsockname()[1])
        declare(house, "hub", server)
        with pytest.raises(Unavailable, match="does not answer"):
            pulled(server, house.installation.gate.perimeter, tmp_path / "tiny")

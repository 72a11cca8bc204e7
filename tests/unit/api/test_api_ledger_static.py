"""The log at its address, as C2SP tlog-tiles v0.1.0 asks for it: one test a requirement."""

from __future__ import annotations

import asyncio
import gzip
import re
from urllib.parse import unquote

import pytest
from fake_installation import AUDITOR_KEY, FakeInstallation, an_application, replaced
from starlette.testclient import TestClient

from casemate.ledger import shelf
from casemate.ledger.audit import audit
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.edge import Edge
from casemate.ledger.folder_shelf import FolderShelf
from casemate.ledger.log import Log
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.note import Signer, Verifier
from casemate.ledger.tile import Tile, last_tile, parse_bundle, parse_hashes
from casemate.settings import Settings

SIZE = 600
ENTRIES = [b"entry %d " % number * 9 for number in range(SIZE)]
TILES = ["0/000", "0/001", "0/002.p/88", "1/000.p/2"]
BUNDLES = ["entries/000", "entries/001", "entries/002.p/88"]
PLAIN = {"Accept-Encoding": "identity"}
OPEN = replaced(Settings(), open_ledger=True)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static") / "log"
    with Log.open(folder, Signer.from_seed("casemate.example/log", bytes(32))) as log:
        for one in [log.append(entry) for entry in ENTRIES[:500]]:
            one.result()
        for one in [log.append(entry) for entry in ENTRIES[500:]]:
            one.result()
        yield log


@pytest.fixture
def served(log):
    """The installation whose log this is, open to everyone."""
    installation = FakeInstallation(OPEN)
    installation.ledger.log = log
    installation.ledger.vkey, installation.ledger.vkeys = log.vkey, log.vkeys
    return installation


@pytest.fixture
def reader(served):
    """Somebody without a key who decodes nothing by himself."""
    return TestClient(an_application(served), headers=PLAIN)


def test_the_checkpoint_is_plain_text_that_nobody_caches(reader, log):
    response = reader.get("/ledger/checkpoint")
    assert response.content == log.checkpoint()
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert "content-encoding" not in response.headers


def test_the_checkpoint_changes_as_the_log_grows(tmp_path):
    installation = FakeInstallation(OPEN)
    with Log.open(tmp_path / "log", Signer.from_seed("casemate.example/log", bytes(32))) as log:
        installation.ledger.log = log
        reader = TestClient(an_application(installation))
        sizes = []
        for entry in ENTRIES[:3]:
            log.append(entry).result()
            checkpoint = reader.get("/ledger/checkpoint").content
            sizes.append(Checkpoint.open(checkpoint, Verifier.parse(log.vkey)).size)
    assert sizes == [1, 2, 3]


@pytest.mark.parametrize("path", TILES + BUNDLES)
def test_tiles_and_bundles_are_octets_that_may_be_kept_for_ever(reader, path):
    response = reader.get(f"/ledger/tile/{path}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-length"] == str(len(response.content))
    assert "set-cookie" not in response.headers


def test_a_closed_ledger_is_for_auditors_and_for_no_shared_cache(served):
    served.settings = Settings()
    client = TestClient(an_application(served))
    assert client.get("/ledger/checkpoint").status_code == 200
    for path in TILES + BUNDLES:
        refused = client.get(f"/ledger/tile/{path}")
        assert refused.status_code == 401
        assert refused.headers["cache-control"] == "no-store"
        given = client.get(
            f"/ledger/tile/{path}", headers={"Authorization": f"Bearer {AUDITOR_KEY}"}
        )
        assert given.headers["cache-control"] == "private, max-age=31536000, immutable"


def test_the_tiles_hold_the_hashes_of_the_entries(reader):
    hashes, entries = [], []
    for path in TILES[:3]:
        tile = Tile.parse(f"tile/{path}")
        hashes += parse_hashes(reader.get(f"/ledger/tile/{path}").content, tile.width)
    for path in BUNDLES:
        bundle = Tile.parse(f"tile/{path}")
        entries += parse_bundle(reader.get(f"/ledger/tile/{path}").content, bundle.width)
    assert entries == ENTRIES
    assert hashes == [leaf_hash(entry) for entry in ENTRIES]
    assert len(reader.get("/ledger/tile/0/000").content) == 8192


def test_a_monitor_audits_the_log_with_nothing_but_its_address_and_key(reader, log, tmp_path):
    raw = reader.get("/ledger/checkpoint").content
    checkpoint = Checkpoint.open(raw, Verifier.parse(reader.get("/ledger/key").text.strip()))
    for level in (None, 0, 1):
        for index in range(-(-(checkpoint.size >> 8 * (level or 0)) // 256)):
            tile = last_tile(level, index, checkpoint.size)
            (tmp_path / tile.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / tile.path).write_bytes(reader.get(f"/ledger/{tile.path}").content)
    edge = shelf.read_edge(FolderShelf(tmp_path), checkpoint.size)
    assert edge.root == checkpoint.root
    audit(FolderShelf(tmp_path), edge, lambda done, total: None)
    assert edge.root == Edge().extend(ENTRIES)[0].root


def test_the_partial_tile_of_an_earlier_checkpoint_is_served(reader, log):
    for path, whole in (("0/001.p/244", "0/001"), ("entries/001.p/244", "entries/001")):
        # outgrown: the specification lets it go, and the client takes the full one
        assert reader.get(f"/ledger/tile/{path}").status_code == 404
        assert reader.get(f"/ledger/tile/{whole}").status_code == 200
    with_level_1 = reader.get("/ledger/tile/1/000.p/1")
    assert with_level_1.content == reader.get("/ledger/tile/1/000.p/2").content[:32]


@pytest.mark.parametrize(
    "path",
    [
        "0/002",  # not full yet
        "0/002.p/89",  # not recorded yet
        "0/003.p/1",
        "1/000",
        "1/000.p/3",
        "2/000",
        "2/000.p/1",
        "entries/002",
        "entries/002.p/89",
        "entries/003",
        "0/x999/999",
        "63/x999/x999/999",
    ],
)
def test_what_is_not_there_yet_is_404_and_never_cached(reader, path):
    response = reader.get(f"/ledger/tile/{path}")
    assert response.status_code == 404
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        *("0/000.p/0", "0/002.p/0", "0/000.p/256", "0/000.p/-1", "0/002.p/088", "0/002.p/+88"),
        *("00/000", "0/0", "0/00", "0/0000", "0/x000/000", "0/x000/x000/000", "-1/000", "64/000"),
        *("0/000/", "0//000", "/0/000", "0/000.p", "0/000.p/", "0/000.p/8/", "0/000.P/8", "0/ 000"),
        *(
            "entries",
            "entries/",
            "Entries/000",
            "entries/000.gz",
            "data/000",
            "0/000%00",
            "0/000%0a",
        ),
        *("0/%30%30%30%20", "0/٠٠٠", "0/０００", "8/0/000", "names/000", ""),
    ],
)
def test_an_address_has_one_spelling(reader, path):
    assert reader.get(f"/ledger/tile/{path}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        *("tile/../checkpoint", "tile/%2e%2e/checkpoint", "tile/0/%2e%2e/%2e%2e/checkpoint"),
        *("tile/..%2fcheckpoint", "tile/0/..%2f..%2fcheckpoint", "tile/%2fetc/passwd"),
        *("tile//etc/passwd", "tile/0/%2e%2e/0/000", "tile/0/000.p/..%2f000", "tile/0%5c000"),
        *("tile", "tile/", "tile/.checkpoint.tmp", "tile/0/.000.tmp", ".checkpoint.tmp", "log"),
        *("checkpoint/", "checkpoint/0", "checkpoint%00", "key/", ""),
    ],
)
def test_no_path_leads_out_of_the_tiles(served, path):
    sent = asyncio.run(as_written(an_application(served), f"/ledger/{path}"))
    assert sent[0]["status"] == 404
    assert b'"error"' in sent[1]["body"]


async def as_written(app, path):
    """GET of a path that nobody tidied up on the way, as a server hands it on."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "server": ("testserver", 80),
        "client": ("testclient", 1),
    }
    await app(scope, receive, send)
    return sent


def test_a_query_changes_nothing(reader):
    assert reader.get("/ledger/tile/0/000?x=1").content == reader.get("/ledger/tile/0/000").content


@pytest.mark.parametrize("path", ["checkpoint", "key", "tile/0/000", "tile/entries/001"])
def test_head_tells_what_get_would_and_nothing_else_is_allowed(reader, path):
    got, headed = reader.get(f"/ledger/{path}"), reader.head(f"/ledger/{path}")
    assert headed.status_code == 200
    assert headed.headers == got.headers
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        refused = reader.request(method, f"/ledger/{path}")
        assert refused.status_code == 405
        assert set(re.split(", ?", refused.headers["allow"])) >= {"GET"}


@pytest.mark.parametrize("path", BUNDLES)
@pytest.mark.parametrize(
    "accepted",
    ["gzip", "GZip", "x-gzip", "gzip, identity", "br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip;q=0.001"],
)
def test_a_bundle_is_compressed_for_whoever_accepts_gzip(reader, path, accepted):
    plain = reader.get(f"/ledger/tile/{path}")
    with reader.stream(
        "GET", f"/ledger/tile/{path}", headers={"Accept-Encoding": accepted}
    ) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-length"] == str(len(raw))
    assert len(raw) < len(plain.content)
    assert gzip.decompress(raw) == plain.content


@pytest.mark.parametrize(
    "accepted",
    ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "*", "notgzip", "gzipped", "gzip;q=0, br"],
)
def test_a_bundle_is_plain_for_whoever_does_not(reader, accepted):
    response = reader.get("/ledger/tile/entries/000", headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in response.headers
    assert parse_bundle(response.content, 256) == tuple(ENTRIES[:256])


def test_a_compressed_bundle_is_the_same_bytes_each_time(reader):
    def once():
        with reader.stream(
            "GET", "/ledger/tile/entries/000", headers={"Accept-Encoding": "gzip"}
        ) as response:
            return b"".join(response.iter_raw())

    assert once() == once()


def test_hashes_do_not_shrink_and_are_never_compressed(reader):
    for path in TILES:
        response = reader.get(f"/ledger/tile/{path}", headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in response.headers
        assert "vary" not in response.headers

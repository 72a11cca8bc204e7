"""Bad input on the command line: one clear line, exit 1, no traceback, nothing lost."""

from __future__ import annotations

import base64
import io
import os
import shutil
import socket
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docx
import pytest
from house_builders import DOG_TAX, FEES, WASTE, Done, a_house, a_server, casemate, some_papers
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen import canvas

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two documents and one run; tests work on copies."""
    folder = tmp_path_factory.mktemp("filled")
    data = folder / "data"
    papers = some_papers(folder / "papers")
    casemate("add", papers, "--collection", "notes", data=data).fine()
    casemate("ask", DOG_TAX, data=data).fine()
    return data


@pytest.fixture
def data(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


def is_whole(data: Path) -> None:
    """Everything of ``filled`` is there and works, at the next start."""
    with a_house(data) as house:
        assert "40 euros" in house.ask(DOG_TAX).answer.text
        library = house.installation.library
        for name, text in (("fees.md", FEES), ("waste.md", WASTE)):
            (id,) = [one.id for one in library.documents(house.owner) if one.name == name]
            assert library.original(house.owner, id) == text.encode()
            assert library.text(house.owner, id)
        (first, *_) = reversed(house.installation.runs.list(house.owner))
        assert first.question == DOG_TAX
        assert house.installation.runs.receipt(house.owner, first.id)
        house.installation.log.check()


# Questions


@pytest.mark.parametrize("question", ["", " ", "\n\t ", "\u3000"])
def test_an_empty_question_is_refused(data: Path, question: str) -> None:
    assert "empty" in casemate("ask", question, data=data).refused()
    assert "empty" in casemate("search", question, data=data).refused()
    assert len(casemate("run", "list", "--json", data=data).json) == 1


def test_a_question_as_long_as_a_command_line_takes_is_refused(data: Path) -> None:
    line = casemate("ask", "why " * 30_000, data=data).refused()
    assert "at most 8,000 are accepted" in line
    assert len(casemate("run", "list", "--json", data=data).json) == 1


@pytest.mark.parametrize(
    "question", [b"caf\xff\xfe", "\U0001f415 " * 50, "???", "a\x01b", "‮dog tax", "日本語の質問"]
)
def test_a_strange_question_ends_in_an_answer_or_one_clear_line(
    data: Path, question: str | bytes
) -> None:
    done = casemate("ask", question, data=data)
    if done.code:
        done.refused()
    is_whole(data)


# Files


def a_pdf(encrypt: bool = False) -> bytes:
    file = io.BytesIO()
    sheet = canvas.Canvas(file, encrypt=StandardEncryption("secret") if encrypt else None)
    sheet.drawString(72, 700, "The dog tax is 40 euros.")
    sheet.save()
    return file.getvalue()


def a_bomb() -> bytes:
    file = io.BytesIO()
    docx.Document().save(file)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/media/image.png", bytes(201 * MEBIBYTE))
    return file.getvalue()


BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "encrypted.pdf": (lambda: a_pdf(encrypt=True), "is encrypted"),
    "truncated.pdf": (lambda: a_pdf()[:200], ""),
    "bomb.docx": (a_bomb, "would unpack to more than 200 MB"),
    "cut.docx": (lambda: a_bomb()[:5000], "is damaged"),
    "empty.md": (lambda: b"", "is empty"),
    "binary.txt": (lambda: bytes(range(256)) * 20, "is not text"),
    "photo.xcf": (lambda: b"gimp xcf", "not supported"),
    "no-ending": (lambda: b"text", "not supported"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_is_named_and_the_rest_goes_in(
    tmp_path: Path, name: str
) -> None:
    content, reason = BAD_FILES[name]
    papers = some_papers(tmp_path / "papers")
    (papers / name).write_bytes(content())
    done = casemate(
        "add", *sorted(papers.iterdir()), "--collection", "notes", data=tmp_path / "data"
    )
    line = done.refused()
    assert line.count(name) == 1
    assert reason in line
    assert "2 added" in done.out
    assert len(casemate("document", "list", "--json", data=tmp_path / "data").fine().json) == 2


NAMES = [
    "Gebühren – été.md",
    "文書.md",
    "مستند.md",
    "έγγραφο.md",
    "🐕 tax.md",
    "a b'c\"d$e.md",
    "-x.md",
]


@pytest.mark.parametrize("served", [False, True])
def test_file_names_in_any_script_and_in_no_encoding_are_taken_in(
    tmp_path: Path, served: bool
) -> None:
    papers = tmp_path / "papers"
    papers.mkdir()
    for name in NAMES:
        (papers / name).write_text(FEES, encoding="utf-8")
    for raw in (b"caf\xe9.md", b"line\nbreak.md", b"\xff\xfe.md"):
        with open(os.path.join(os.fsencode(papers), raw), "wb") as file:
            file.write(FEES.encode())
    data = tmp_path / "data"
    casemate("status", data=data)

    def add_and_list() -> None:
        added = casemate("add", papers, "--collection", "notes", data=data).fine()
        assert "10 added" in added.out
        again = casemate("add", papers, "--collection", "notes", data=data).fine()
        assert "10 unchanged" in again.out
        listed = casemate("document", "list", "--json", data=data).fine().json
        names = {one["name"] for one in listed}
        assert set(NAMES) < names
        assert {"caf\ufffd.md", "line\ufffdbreak.md", "\ufffd\ufffd.md"} < names
        casemate("document", "list", data=data).fine()
        casemate("ask", DOG_TAX, data=data).fine()

    if served:
        with a_server(data):
            add_and_list()
    else:
        add_and_list()


def test_a_path_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    assert (
        "nowhere"
        in casemate("add", tmp_path / "nowhere", "--collection", "notes", data=data).refused()
    )
    raw = os.fsencode(tmp_path) + b"/caf\xff.md"
    casemate("add", raw, "--collection", "notes", data=data).refused()


def test_a_file_that_goes_away_in_between_is_named(data: Path, tmp_path: Path) -> None:
    papers = some_papers(tmp_path / "papers")
    (papers / "dangling.md").symlink_to(tmp_path / "nowhere")
    done = casemate("add", *sorted(papers.iterdir()), "--collection", "notes", data=data)
    assert "dangling.md" in done.refused()


# Data folders


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    papers = some_papers(tmp_path / "papers")
    (papers / "settings.toml").write_text("[theirs]\n", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in papers.iterdir()}
    for arguments in (
        ("add", str(papers), "--collection", "x"),
        ("ask", DOG_TAX),
        ("status",),
        ("up", "--port", "0"),
    ):
        casemate(*arguments, data=papers).refused()
    assert {path.name: path.read_bytes() for path in papers.iterdir()} == before


def test_a_file_in_place_of_the_data_folder_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.write_text("mine", encoding="utf-8")
    for arguments in (("ask", DOG_TAX), ("status",), ("up", "--port", "0")):
        casemate(*arguments, data=place).refused()
    assert place.read_text(encoding="utf-8") == "mine"


def test_a_command_that_only_reads_makes_no_data_folder(tmp_path: Path) -> None:
    for arguments in (("status",), ("run", "list"), ("document", "list"), ("ledger", "check")):
        assert "no Casemate data folder" in casemate(*arguments, data=tmp_path / "x").refused()
    assert not (tmp_path / "x").exists()


def test_a_data_folder_of_a_newer_casemate_is_refused_and_left_alone(data: Path) -> None:
    mark = data / "casemate.json"
    old = mark.read_bytes()
    mark.write_bytes(old.replace(b'"v":1', b'"v":2'))
    assert "version" in casemate("status", data=data).refused()
    mark.write_bytes(old)
    is_whole(data)


def test_a_database_of_a_newer_casemate_is_refused_and_left_alone(data: Path) -> None:
    def move(version: str) -> None:
        with sqlite3.connect(data / "casemate.sqlite") as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.close()

    with sqlite3.connect(data / "casemate.sqlite") as connection:
        (now,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    move("9999")
    assert "newer Casemate" in casemate("status", data=data).refused()
    move(now)
    is_whole(data)


# Keys and files of the installation


def test_a_missing_master_key_is_told_and_putting_it_back_is_enough(data: Path) -> None:
    key = (data / "master.key").read_bytes()
    (data / "master.key").unlink()
    for arguments in (("ask", DOG_TAX), ("up", "--port", "0"), ("run", "list")):
        assert "master key" in casemate(*arguments, data=data).refused()
    assert not (data / "master.key").exists()
    (data / "master.key").write_bytes(key)
    (data / "master.key").chmod(0o600)
    is_whole(data)


@pytest.mark.parametrize("wrong", [bytes(32), b"short", b""])
def test_another_master_key_is_refused_and_the_right_one_is_enough(
    data: Path, wrong: bytes
) -> None:
    key = (data / "master.key").read_bytes()
    (data / "master.key").write_bytes(wrong)
    assert "master key" in casemate("ask", DOG_TAX, data=data).refused()
    (data / "master.key").write_bytes(key)
    is_whole(data)


def test_a_master_key_that_others_can_read_is_refused(data: Path) -> None:
    (data / "master.key").chmod(0o644)
    assert "chmod 600" in casemate("ask", DOG_TAX, data=data).refused()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "not JSON"])
def test_a_damaged_ledger_key_is_told_and_putting_it_back_is_enough(
    data: Path, damage: str
) -> None:
    path = data / "ledger.key"
    kept = path.read_bytes()
    at = kept.index(b'"sealed"') + 30
    flipped = kept[:at] + (b"A" if kept[at : at + 1] != b"A" else b"B") + kept[at + 1 :]
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "cut": kept[:-9], "flipped": flipped, "not JSON": b"\xff\x00"}[damage]
        )
    casemate("ask", DOG_TAX, data=data).refused()
    assert path.exists() == (damage != "missing")
    path.write_bytes(kept)
    is_whole(data)


@pytest.mark.parametrize("size", [100, 4096, 9000])
def test_a_damaged_database_is_told(data: Path, size: int) -> None:
    path = data / "casemate.sqlite"
    content = path.read_bytes()
    path.write_bytes(b"\xa5" * size + content[size:])
    assert "damaged" in casemate("ask", DOG_TAX, data=data).refused()
    path.write_bytes(content)
    is_whole(data)


def _every_file(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


def _remove_files(folder: Path) -> None:
    for path in _every_file(folder):
        path.unlink()


def _garble(folder: Path) -> None:
    for path in _every_file(folder):
        path.write_bytes(b"\xa5" * max(64, path.stat().st_size))


def _cut(folder: Path) -> None:
    for path in _every_file(folder):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _lose_one_kind(folder: Path) -> None:
    for path in _every_file(folder):
        if path.suffix == ".pos":
            path.unlink()


@pytest.mark.parametrize("damage", [_remove, _remove_files, _garble, _cut, _lose_one_kind])
def test_a_damaged_index_is_built_anew(data: Path, damage: Callable[[Path], None]) -> None:
    damage(data / "index")
    is_whole(data)
    found = casemate("search", "glass container", "--json", data=data).fine().json
    assert found[0]["document"] == "waste.md"


def test_a_changed_index_segment_is_built_anew(data: Path) -> None:
    (segment,) = [path for path in _every_file(data / "index") if path.suffix == ".fast"]
    content = bytearray(segment.read_bytes())
    content[:12] = bytes(byte ^ 0xFF for byte in content[:12])
    segment.write_bytes(content)
    done = casemate("search", "glass container", "--json", data=data)
    assert done.code == 0
    assert done.json[0]["document"] == "waste.md"
    is_whole(data)


def test_settings_that_are_wrong_are_named(data: Path) -> None:
    for text, says in (
        ("port = 'x'\n", "port"),
        ("prot = 8470\n", "prot"),
        ("port = \n", "TOML"),
        ("port = 99999\n", "port"),
        ("\xff", "TOML"),
    ):
        (data / "settings.toml").write_text(text, encoding="latin-1")
        assert says in casemate("status", data=data).refused()
    (data / "settings.toml").unlink()
    assert "CASEMATE_PORT" in casemate("status", data=data, env={"CASEMATE_PORT": "x"}).refused()


# Servers


def test_a_port_in_use_is_told(data: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        line = casemate("up", "--port", str(port), data=data).refused()
    assert f"Port {port} is in use" in line
    assert "--port" in line
    is_whole(data)


def test_a_second_server_on_one_folder_is_refused_and_the_first_goes_on(data: Path) -> None:
    with a_server(data) as server:
        line = casemate("up", "--port", "0", data=data).refused()
        assert "Another Casemate is using this data folder" in line
        assert server.http("GET", "/readyz").status == 200
        casemate("ask", DOG_TAX, data=data).fine()
        assert server.stop() == 0
    is_whole(data)


def test_an_address_of_another_machine_cannot_be_listened_on(data: Path) -> None:
    casemate("up", "--host", "192.0.2.1", "--port", "0", data=data).refused()
    is_whole(data)


# Disks


@contextmanager
def a_mount(place: Path, *options: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this account may not mount: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_read_only_disk_is_told(filled: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(filled, tmp_path / "source"))
    place = tmp_path / "disk"
    with a_mount(place, "--bind", str(source)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        papers = some_papers(tmp_path / "papers")
        for arguments in (
            ("ask", DOG_TAX),
            ("add", str(papers), "--collection", "notes"),
            ("run", "list"),
            ("up", "--port", "0"),
        ):
            assert "cannot be written" in casemate(*arguments, data=place).refused()
        fresh = casemate("add", papers, "--collection", "notes", data=place / "new").refused()
        assert "cannot be written" in fresh
    is_whole(source)


def test_a_first_start_without_room_is_told_and_works_once_there_is_some(tmp_path: Path) -> None:
    papers = some_papers(tmp_path / "papers")
    with a_mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as disk:
        data = disk / "data"
        casemate("add", papers, "--collection", "notes", data=data).refused()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        casemate("add", papers, "--collection", "notes", data=data).fine()
        casemate("ask", DOG_TAX, data=data).fine()
        is_whole(data)


def fill(disk: Path, leave: int) -> None:
    """Leave that many bytes on a disk."""
    room = os.statvfs(disk)
    with open(disk / "ballast", "wb") as file:
        file.write(bytes(max(0, room.f_bavail * room.f_frsize - leave)))


def add_many(papers: Path, data: Path) -> Done:
    return casemate("add", papers, "--collection", "more", data=data)


@pytest.mark.parametrize("room", [0, 200 << 10, 2 * MEBIBYTE])
def test_a_full_disk_is_told_and_nothing_is_lost(filled: Path, tmp_path: Path, room: int) -> None:
    papers = tmp_path / "more"
    papers.mkdir()
    for number in range(12):
        text = base64.b64encode(os.urandom(60_000)).decode()
        words = " ".join(text[at : at + 9] for at in range(0, len(text), 9))
        (papers / f"{number}.md").write_text(f"# Number {number}\n\n{words}", encoding="utf-8")
    with a_mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=80m", "tmpfs") as disk:
        data = Path(shutil.copytree(filled, disk / "data"))
        fill(disk, room)
        add_many(papers, data).refused()
        done = casemate("ask", DOG_TAX, data=data)
        if done.code:
            done.refused()
        (disk / "ballast").unlink()
        is_whole(data)
        assert "12 added" in add_many(papers, data).fine().out
        assert len(casemate("document", "list", "--json", data=data).fine().json) == 14
        casemate("ledger", "check", data=data).fine()


def test_a_full_disk_under_a_server_is_told_and_it_recovers_without_a_restart(
    filled: Path, tmp_path: Path
) -> None:
    papers = tmp_path / "more"
    papers.mkdir()
    (papers / "big.md").write_text("word " * 200_000, encoding="utf-8")
    with a_mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=80m", "tmpfs") as disk:
        data = Path(shutil.copytree(filled, disk / "data"))
        with a_server(data) as server:
            fill(disk, 300 << 10)
            add_many(papers, data).refused()
            assert server.http("GET", "/healthz").status == 200
            (disk / "ballast").unlink()
            assert "1 added" in add_many(papers, data).fine().out
            assert server.stop() == 0
        is_whole(data)

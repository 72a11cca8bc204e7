"""The reader with its real child process."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import docx
import odfdo
import pytest
from reportlab.pdfgen import canvas

from casemate.errors import Invalid, Unavailable, Unsupported
from casemate.isolation import LAYERS
from casemate.library.parse import SUPPORTED, Extracted, Limits, Reader, Unreadable, confined
from casemate.library.parse import child as child_module

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as shared:
        yield shared


def a_pdf(pages: int = 1) -> bytes:
    file = io.BytesIO()
    sheet = canvas.Canvas(file)
    for page in range(1, pages + 1):
        sheet.drawString(72, 700, f"Page {page}.")
        sheet.showPage()
    sheet.save()
    return file.getvalue()


def a_docx() -> bytes:
    file = io.BytesIO()
    document = docx.Document()
    document.add_paragraph("A paragraph.")
    document.save(file)
    return file.getvalue()


def an_odt() -> bytes:
    file = io.BytesIO()
    document = odfdo.Document("text")
    document.body.append(odfdo.Paragraph("A paragraph."))
    document.save(file)
    return file.getvalue()


def pid_of(reader: Reader) -> int:
    reader.confinement()
    assert reader._child is not None
    return reader._child.pid


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.TXT", b"Text."),
        ("Gebühren – été.md", b"Text."),
        ("文書.html", b"<p>Text."),
        ("مستند.csv", b"Text."),
        ("документ.pdf", a_pdf()),
        ("έγγραφο.docx", a_docx()),
    ],
)
def test_files_with_names_in_any_script_are_read(reader: Reader, name: str, content: bytes) -> None:
    document = reader.read(name, content)
    assert isinstance(document, Extracted)
    assert document.text


def test_an_unknown_type_is_refused_by_name(reader: Reader) -> None:
    with pytest.raises(Unsupported, match=r"photo\.xcf") as refusal:
        reader.read("photo.xcf", b"x")
    assert all(kind in refusal.value.next for kind in SUPPORTED)
    with pytest.raises(Unsupported):
        reader.read("README", b"x")


def test_a_refusal_names_the_file_and_gives_the_reason(reader: Reader) -> None:
    with pytest.raises(Unreadable) as refusal:
        reader.read("leer.txt", b"")
    assert isinstance(refusal.value, Invalid)
    assert (refusal.value.name, refusal.value.reason) == ("leer.txt", "is empty")
    with pytest.raises(Unreadable, match=r"^binär\.txt is not text\."):
        reader.read("binär.txt", b"\x00\x01")


def test_one_process_reads_many_files(reader: Reader) -> None:
    before = pid_of(reader)
    for number in range(20):
        assert reader.read("a.txt", f"Text {number}".encode()).text == f"Text {number}"
    assert pid_of(reader) == before


def test_a_file_beyond_the_size_is_refused_before_it_is_sent() -> None:
    with Reader(Limits(file_bytes=MEBIBYTE)) as reader, pytest.raises(Unreadable, match="1 MB"):
        reader.read("a.txt", b"x" * (MEBIBYTE + 1))


def test_a_thirty_megabyte_line_is_too_much_text_and_the_next_file_is_read(reader: Reader) -> None:
    with pytest.raises(Unreadable, match="holds more than 20,000,000 characters"):
        reader.read("line.txt", b"word " * (6 * MEBIBYTE))
    assert reader.read("a.txt", b"Text").text == "Text"


def test_a_thirty_megabyte_line_is_read_where_that_is_allowed() -> None:
    with Reader(Limits(text_characters=40_000_000)) as reader:
        assert len(reader.read("line.txt", b"x" * 30_000_000).text) == 30_000_000


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_read() -> None:
    with Reader(Limits(seconds=0.3)) as reader:
        before = pid_of(reader)
        with pytest.raises(Unreadable, match=r"took longer than 0\.3 s"):
            reader.read("slow.html", b"<div>" * 100_000)
        assert not Path(f"/proc/{before}").exists()
        assert reader.read("a.txt", b"Text").text == "Text"


def test_a_file_that_needs_too_much_memory_is_given_up_and_the_next_one_read() -> None:
    with Reader(Limits(memory_bytes=160 * MEBIBYTE)) as reader:
        with pytest.raises(Unreadable):
            reader.read("big.txt", b"word " * (18 * MEBIBYTE))
        assert reader.read("a.txt", b"Text").text == "Text"


def test_a_bomb_is_refused_within_its_memory(reader: Reader) -> None:
    file = io.BytesIO(a_docx())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/media/image.png", bytes(201 * MEBIBYTE))
    with pytest.raises(Unreadable, match="would unpack to more than 200 MB"):
        reader.read("bomb.docx", file.getvalue())


def test_a_child_that_is_killed_is_replaced() -> None:
    with Reader() as reader:
        reader.read("a.txt", b"Text")
        os.kill(pid_of(reader), signal.SIGKILL)
        assert reader.read("a.txt", b"Text").text == "Text"


def test_a_child_that_dies_while_it_reads_makes_the_file_unreadable() -> None:
    with Reader() as reader:
        victim = pid_of(reader)
        killer = threading.Timer(0.2, os.kill, (victim, signal.SIGKILL))
        killer.start()
        with pytest.raises(Unreadable, match="made the reader stop"):
            reader.read("slow.html", b"<div>" * 100_000)
        killer.join()
        assert reader.read("a.txt", b"Text").text == "Text"


def test_a_reader_is_shared_by_threads(reader: Reader) -> None:
    answers: dict[int, str] = {}

    def read(number: int) -> None:
        answers[number] = reader.read("a.md", f"# Text {number}".encode()).text

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"Text {number}" for number in range(8)}


def test_a_closed_reader_says_so_and_leaves_no_process() -> None:
    reader = Reader()
    pid = pid_of(reader)
    reader.close()
    reader.close()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(Unavailable):
        reader.read("a.txt", b"Text")


def test_a_process_that_cannot_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Reader() as reader, pytest.raises(Unavailable, match="cannot be started"):
        reader.read("a.txt", b"Text")


def test_the_child_has_a_network_of_its_own_where_the_kernel_allows(reader: Reader) -> None:
    confinement = reader.confinement()
    assert confinement.unprivileged
    if not confinement.no_network:
        pytest.skip("this kernel gives no network namespaces to this account")
    theirs = Path(f"/proc/{pid_of(reader)}")
    if os.geteuid() == 0:  # the child shows its namespaces to nobody else
        assert os.readlink(theirs / "ns/net") != os.readlink("/proc/self/ns/net")
    interfaces = (theirs / "net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_the_child_is_limited_and_holds_nothing_of_its_parent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASEMATE_SECRET", "x")
    with open(tmp_path / "inherited", "w") as file, Reader() as fresh:
        os.set_inheritable(file.fileno(), True)
        process = Path(f"/proc/{pid_of(fresh)}")
        if os.geteuid() == 0:
            opened = {os.readlink(entry) for entry in (process / "fd").iterdir()}
            assert file.name not in opened
            assert all(name.startswith("pipe:") or name == "/dev/null" for name in opened)
            assert b"CASEMATE_SECRET" not in (process / "environ").read_bytes()
        else:
            # The child's memory, files and environment are closed even to its own account.
            for entry in ("fd", "environ", "mem"):
                with pytest.raises(PermissionError):
                    os.close(os.open(process / entry, os.O_RDONLY))
        status = (process / "status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "CapPrm:\t0000000000000000" in status
        assert "CapEff:\t0000000000000000" in status
        limits = {line[:26].strip(): line[26:].split() for line in _limits_of(process)}
        assert limits["Max file size"][:2] == ["0", "0"]
        assert limits["Max core file size"][:2] == ["0", "0"]
        assert limits["Max address space"][:2] == [str(1024 * MEBIBYTE)] * 2
        assert int(limits["Max open files"][1]) <= 64


def inside(code: str, folder: Path) -> object:
    """What ``code`` prints, as JSON, in a process that is confined as the reading process is."""
    script = f"""
import json, sys
sys.path.insert(0, {str(Path(confined.__file__).parent)!r})
sys.path.append({str(Path(child_module.__file__).parents[3])!r})
import confined
layers = confined.confine({1024 * MEBIBYTE}).layers
folder = {str(folder)!r}
{code}
"""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", script], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_child_has_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "document.txt").write_text("Not for parsers.")
    code = """
from casemate.isolation import prove
attempts = prove(outside=folder + "/document.txt")
print(json.dumps([layers, [a.name for a in attempts if not a.blocked], len(attempts)]))
"""
    layers, open_ways, tried = cast(tuple[list[str], list[str], int], inside(code, tmp_path))
    assert tried > 40
    if tuple(layers) != LAYERS:
        pytest.skip(f"this system gives this account only {layers}")
    assert open_ways == []


def test_the_child_reads_and_writes_no_file_but_those_of_the_interpreter(tmp_path: Path) -> None:
    (tmp_path / "document.txt").write_text("Not for parsers.")
    code = """
import os
told = []
for path, mode in ((folder + "/document.txt", os.O_RDONLY), (folder + "/new", os.O_CREAT)):
    try:
        os.open(path, mode)
        told.append(0)
    except OSError as error:
        told.append(error.errno)
print(json.dumps([layers, told, len(os.listdir(os.path.dirname(os.__file__))) > 100]))
"""
    layers, told, libraries = cast(tuple[list[str], list[int], bool], inside(code, tmp_path))
    assert libraries
    if "files" not in layers:
        pytest.skip("this kernel has no Landlock")
    assert told == [errno.EACCES, errno.EACCES]


def test_the_folder_in_which_the_parent_works_is_not_given_to_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ``python -m`` puts that folder into sys.path, and documents may lie there.
    (tmp_path / "document.txt").write_text("Not for parsers.")
    folder, root = str(tmp_path), str(Path(child_module.__file__).parents[3])
    script = f"""
import os, sys, types
sys.path.insert(0, {str(Path(confined.__file__).parent)!r})
import confined

def serve(**achieved):
    try:
        os.open({folder!r} + "/document.txt", os.O_RDONLY)
        print("read")
    except OSError as error:
        print(error.errno)

sys.modules["casemate.library.parse.worker"] = types.SimpleNamespace(serve=serve)
confined.main()
"""
    arguments = [script, str(1024 * MEBIBYTE), root, folder, *sys.path]

    def told() -> str:
        command = [sys.executable, "-I", "-B", "-c", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    if "files" not in cast(list[str], inside("print(json.dumps(layers))", tmp_path)):
        pytest.skip("this kernel has no Landlock")
    assert told() == "read"  # a folder in sys.path is read, where nobody works in it
    monkeypatch.chdir(tmp_path)
    assert told() == str(errno.EACCES)


@pytest.mark.parametrize("extension", sorted(SUPPORTED))
def test_every_type_is_read_by_the_confined_child(reader: Reader, extension: str) -> None:
    made = {".pdf": a_pdf, ".docx": a_docx, ".odt": an_odt}
    content = made[extension]() if extension in made else b"One, two"
    assert reader.read(f"a{extension}", content).text


def _limits_of(process: Path) -> list[str]:
    return (process / "limits").read_text().splitlines()[1:]


def test_the_parent_imports_no_parser() -> None:
    code = (
        "import sys, casemate.library.parse as p\n"
        "with p.Reader() as r: r.read('a.md', b'# x')\n"
        "print([m for m in ('pypdfium2', 'docx', 'odfdo', 'selectolax', 'markdown_it', 'lxml')"
        " if m in sys.modules])"
    )
    root = str(Path(child_module.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"

"""What may come in as a file of a model, and what is refused with its reason."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casemate.errors import Invalid, NotFound, Refused
from casemate.models import formats, weights


def gguf(*, version: int = 3, tensors: int = 1, pairs: int = 1) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + bytes(256)


def safetensors(header: Any, content: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def entry(start: int, end: int, **more: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [start, end], **more}


def check(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    formats.check(folder / name, name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.gguf", gguf()),
        ("w.gguf", gguf(version=2, tensors=3, pairs=4)),
        ("w.safetensors", safetensors({"w": entry(0, 8)})),
        (
            "w.safetensors",
            safetensors({"b": entry(8, 12, dtype="BF16"), "a": entry(0, 8), "__metadata__": {}},
                        bytes(12)),
        ),
        ("w.safetensors", safetensors({"w": entry(0, 1, dtype="F4")}, bytes(1))),
        ("tekken.json", b"{}"),
        ("LICENSE", b"Do what you like."),
        ("chat.jinja", "Grüße".encode()),
        ("tokenizer.model", b"\n\0\1\2"),
        ("s.txt", b"I would rather not."),
    ],
)  # fmt: skip
def test_what_a_model_is_made_of_is_let_in(tmp_path: Path, name: str, content: bytes) -> None:
    check(tmp_path, name, content)


@pytest.mark.parametrize("name", ["w.bin", "w.pt", "w.pth", "w.ckpt", "w.pkl", "W.PKL"])
def test_a_pickle_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="pickled weights: opening one runs a program"):
        check(tmp_path, name, gguf())


@pytest.mark.parametrize("name", ["notes.txt", "sentence.model", "config.json", "weights"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_is_refused_by_its_content(tmp_path: Path, name: str, protocol: int) -> None:
    with pytest.raises(Refused, match=f"{name} is a pickle by its content"):
        check(tmp_path, name, pickle.dumps(Path("x"), protocol))


def test_an_archive_with_a_pickle_in_it_is_refused_as_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sentence.model", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))
    with pytest.raises(Refused, match="is a pickle by its content"):
        formats.check(tmp_path / "sentence.model", "sentence.model")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "does not begin as GGUF"),
        (b"GGML" + bytes(60), "does not begin as GGUF"),
        (gguf()[:23], "does not begin as GGUF"),
        (gguf(version=1), "not GGUF of version"),
        (b"GGUF\0\0\0\3" + bytes(60), "not GGUF of version"),
        (gguf(tensors=0), "more tensors or keys"),
        (gguf(tensors=1 << 60), "more tensors or keys"),
        (gguf(pairs=1000), "more tensors or keys"),
    ],
)
def test_damaged_gguf_is_refused(tmp_path: Path, content: bytes, wrong: str) -> None:
    with pytest.raises(Invalid, match=wrong):
        check(tmp_path, "w.gguf", content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(8),
        (1 << 40).to_bytes(8, "little") + bytes(60),
        safetensors(b"{"),
        safetensors(b"[]"),
        safetensors({}),
        safetensors({"w": 1}),
        safetensors({"w": entry(0, 4)}),
        safetensors({"w": entry(0, 8, dtype="WORD")}),
        safetensors({"w": entry(4, 12)}),
        safetensors({"w": entry(0, 8), "v": entry(4, 12)}, bytes(12)),
        safetensors({"w": entry(0, 8)}, bytes(9)),
        safetensors({"w": entry(8, 0)}),
        safetensors(b'{"w":' * 4000),
    ],
)
def test_damaged_safetensors_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Invalid, match="safetensors"):
        check(tmp_path, "w.safetensors", content)


@pytest.mark.parametrize("content", [b"\0\1", b"\xff", b"\x1f\x8b", b"PK\3\4"])
def test_what_is_of_no_known_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Invalid, match="of no kind that a model here is made of"):
        check(tmp_path, "odd", content + b"\0")


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b""])
def test_json_is_read_as_such(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Invalid, match="not valid JSON"):
        check(tmp_path, "tekken.json", content)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda place: place.symlink_to("/etc/passwd"), "more/odd is a symbolic link"),
        (lambda place: place.symlink_to("/etc"), "more/odd is a symbolic link"),
        (os.mkfifo, "more/odd is not a regular file"),
    ],
)
def test_links_and_odd_files_are_refused(
    tmp_path: Path, make: Callable[[Path], object], wrong: str
) -> None:
    (tmp_path / "more").mkdir()
    make(tmp_path / "more" / "odd")
    with pytest.raises(Invalid, match=wrong) as caught:
        weights.survey(tmp_path)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises((Invalid, NotFound)):
        list(weights.read(tmp_path / "more" / "odd", "odd"))

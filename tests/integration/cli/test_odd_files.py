"""What is no regular file is named and not waited for; what is too large is not read whole."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from house_builders import casemate, some_papers

from casemate.cli.acts.documents import _file
from casemate.errors import Invalid, TooLarge


def test_a_pipe_a_socket_and_a_device_are_named_and_the_rest_goes_in(tmp_path: Path) -> None:
    papers = some_papers(tmp_path / "papers")
    os.mkfifo(tmp_path / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock.md"))
        odd = [tmp_path / "pipe.md", tmp_path / "sock.md", Path("/dev/zero")]
        arguments = ["add", papers, *odd, "--collection", "notes"]
        done = casemate(*arguments, data=tmp_path / "data", timeout=60)
    assert done.code == 1
    assert "notes: 2 added, 3 not read." in done.out
    for name in ("pipe.md", "sock.md", "zero"):
        assert f"casemate: {name} is not a regular file. Give files or folders." in done.err


def test_a_folder_with_a_pipe_in_it_is_read_without_it(tmp_path: Path) -> None:
    papers = some_papers(tmp_path / "papers")
    os.mkfifo(papers / "pipe.md")
    arguments = ["add", papers, "--collection", "notes"]
    done = casemate(*arguments, data=tmp_path / "data", timeout=60).fine()
    assert "2 added" in done.out


def test_a_file_that_became_a_pipe_since_is_not_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "a.md"
    place.write_text("x", encoding="utf-8")
    file = _file(str(place), "a.md", 100)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(Invalid, match=r"a\.md is not a regular file"):
        file.content()


def test_a_file_that_grew_since_is_read_to_the_limit_and_no_further(tmp_path: Path) -> None:
    place = tmp_path / "a.md"
    place.write_bytes(b"x" * 100)
    file = _file(str(place), "a.md", 100)
    assert file.content() == b"x" * 100
    os.truncate(place, 1 << 40)  # sparse; reading it whole would end the memory
    with pytest.raises(TooLarge):
        file.content()

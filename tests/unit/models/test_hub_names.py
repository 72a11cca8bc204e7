"""What a hub is asked for, and what is refused by its name alone."""

from __future__ import annotations

import asyncio

import pytest

from casemate.errors import Invalid, Refused
from casemate.gate.perimeter import Route
from casemate.models.hub import Hub, HubFile, refuse_pickles


def nowhere(url: str) -> Route:
    raise AssertionError("the perimeter was asked")


@pytest.mark.parametrize(
    ("repo", "revision"),
    [
        ("", "main"),
        ("../x", "main"),
        ("a/b/c", "main"),
        ("a/..", "main"),
        ("a b", "main"),
        ("a/b?x=1", "main"),
        ("a/b", ""),
        ("a/b", "../main"),
        ("a/b", "ma in"),
        ("a/b", "-main"),
        ("a/b", "a//b"),
        ("a/b", "main#x"),
    ],
)
def test_names_that_are_none_are_refused_before_anybody_is_asked(repo: str, revision: str) -> None:
    async def ask() -> None:
        async with Hub("https://hub.example", nowhere) as hub:
            await hub.listing(repo, revision)

    with pytest.raises(Invalid, match="not the name of a"):
        asyncio.run(ask())


@pytest.mark.parametrize("name", ["a.bin", "a/b.PT", "x.pkl", "model.ckpt", "x.pth", "y.joblib"])
def test_pickles_are_refused_by_name(name: str) -> None:
    files = (HubFile("ok.safetensors", 1, "sha256:0"), HubFile(name, 1, "sha256:0"))
    with pytest.raises(Refused, match="opening one runs a program"):
        refuse_pickles(files)


def test_what_holds_no_program_passes() -> None:
    refuse_pickles(tuple(HubFile(one, 1, "") for one in ("a.gguf", "b.safetensors", "c.json")))

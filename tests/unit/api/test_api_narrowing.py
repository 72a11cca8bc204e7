"""What Mistral's package puts into an address narrows a list, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from casemate.api.mistral.narrowing import (
    holds,
    is_wanted,
    refused,
    wanted_besides,
    wanted_metadata,
    wanted_since,
)
from casemate.api.mistral.paging import InvalidQuery


def asked(**query: str) -> Request:
    return Request({"type": "http", "query_string": urlencode(query).encode(), "headers": []})


@pytest.mark.parametrize("text", ["", "null", '"~?~unset~?~sentinel~?~"', "{}"])
def test_metadata_that_ask_for_nothing_narrow_nothing(text):
    assert wanted_metadata(asked(metadata=text)) == {}
    assert holds(None, {})


@pytest.mark.parametrize("text", ["{", "{a: 1}", "[" * 100_000])
def test_metadata_that_are_no_json_are_refused(text):
    with pytest.raises(InvalidQuery) as told:
        wanted_metadata(asked(metadata=text))
    assert (told.value.param, told.value.within) == ("metadata", "query")


def test_all_that_is_wanted_has_to_stand_in_the_metadata():
    wanted = wanted_metadata(asked(metadata='{"of": "desk", "n": 1}'))
    assert holds({"of": "desk", "n": 1, "more": None}, wanted)
    assert not holds({"of": "desk"}, wanted)
    assert not holds({"of": "desk", "n": 2}, wanted)
    assert not holds(None, wanted)


def test_parameters_beside_the_known_ones_are_metadata_as_text():
    wanted = wanted_besides(asked(page="0", n="1"), ("page",))
    assert wanted == {"n": "1"}
    assert holds({"n": 1}, wanted)
    assert holds({"n": "1"}, wanted)
    assert not holds({"n": 2}, wanted)


OFFSETS = st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))


@given(st.datetimes() | st.datetimes(timezones=OFFSETS))
def test_every_moment_can_be_compared(moment):
    since = wanted_since(asked(created_after=moment.isoformat()))
    assert since is not None
    assert since.tzinfo is not None
    assert isinstance(datetime.now(UTC) > since, bool)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "99999"])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(InvalidQuery):
        wanted_since(asked(created_after=text))


def test_a_value_is_wanted_unless_another_is_asked_for():
    assert is_wanted(asked(), "name", "a")
    assert is_wanted(asked(name=""), "name", "a")
    assert is_wanted(asked(name="a"), "name", "a")
    assert not is_wanted(asked(name="b"), "name", "a")
    assert not is_wanted(asked(name="b"), "name", None)


def test_what_nothing_here_knows_is_refused_by_name():
    refused(asked(), "mimetypes", "Leave it out.")
    with pytest.raises(InvalidQuery) as told:
        refused(asked(mimetypes="text/plain"), "mimetypes", "Leave it out.")
    assert told.value.param == "mimetypes"

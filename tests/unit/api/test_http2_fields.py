"""Fields of answers as another's decoder reads them."""

from __future__ import annotations

from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from casemate.api.http2_fields import Literals

NAMES = st.one_of(
    st.sampled_from([b":status", b"content-type", b"set-cookie", b"www-authenticate", b"x-run"]),
    st.binary(min_size=1, max_size=300),
)
VALUES = st.one_of(st.sampled_from([b"200", b"404", b""]), st.binary(max_size=300))


@given(st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=8), max_size=4))
def test_what_is_encoded_is_what_is_decoded(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    encoder, decoder = Literals(), Decoder(max_header_list_size=1 << 20)
    for block in blocks:
        assert [tuple(one) for one in decoder.decode(encoder.encode(block), raw=True)] == block
    assert decoder.header_table.dynamic_entries == () or not decoder.header_table.dynamic_entries


def test_long_texts_have_long_lengths() -> None:
    for length in (126, 127, 128, 254, 255, 16_510, 16_511):
        block = [(b"x", b"y" * length)]
        assert [*map(tuple, Decoder().decode(Literals().encode(block), raw=True))] == block


def test_a_client_without_a_table_hears_that_there_is_none() -> None:
    encoder, decoder = Literals(), Decoder()
    decoder.max_allowed_table_size = 0  # which it holds against us until it hears of a size
    assert decoder.decode(encoder.encode([(b"x", b"y")]), raw=True)
    assert encoder.encode([]) == b""
    encoder.tell_size()
    assert encoder.encode([]) == b"\x20"


def test_a_cookie_is_remembered_by_nobody_on_the_way() -> None:
    (cookie,) = Decoder().decode(Literals().encode([(b"set-cookie", b"a=b")]), raw=True)
    assert not cookie.indexable

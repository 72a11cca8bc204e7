"""h2 as this server uses it: what it is told to leave to us, and the settings that clients hear.

RFC 9113, sections 6.5.2 and 8.1.1; RFC 7541.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, H2Connection
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream

from casemate.api.bounds import Bounds
from casemate.api.http2_frames import FRAME_BYTES

_WINDOW = 128 << 10  # bytes of one body that may wait here
_WINDOW_OF_ALL = 1 << 20  # and of all bodies of a connection
_WINDOW_AT_FIRST = 65_535  # section 6.9.2
_FIELD_BYTES = 32  # that each field of a list counts for, beside what it holds
_NO_LIMIT = 2**31 - 1


class _States(H2Connection):
    """Need not remember as many streams that were closed, nor measure bodies: ``Stream`` does.

    h2 would end the connection for a body that is not as long as it says, which clients that were
    answered early send: curl stops, and ends its stream.
    """

    MAX_CLOSED_STREAMS = 1024

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        begun = super()._begin_new_stream(stream_id, allowed_ids)
        begun._initialize_content_length = _any_length  # type: ignore[method-assign]
        return begun


def begun(bounds: Bounds) -> H2Connection:
    """A connection, its settings ready to be sent.

    Fields are checked by ``http2_head``, and the number of streams by ``http2``: for one that is
    malformed or too many h2 would end the connection, and with it what others ask by a gateway.
    """
    unchecked = H2Configuration(
        client_side=False,
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    states = _States(unchecked)
    said = {
        SettingCodes.MAX_CONCURRENT_STREAMS: bounds.streams,
        SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
        SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
        SettingCodes.MAX_HEADER_LIST_SIZE: bounds.header_bytes + _FIELD_BYTES * bounds.headers,
    }
    states.local_settings = Settings(client=False, initial_values=said)
    states.initiate_connection()
    states.increment_flow_control_window(_WINDOW_OF_ALL - _WINDOW_AT_FIRST)
    held_to = said | {SettingCodes.MAX_CONCURRENT_STREAMS: _NO_LIMIT}
    states.local_settings = Settings(client=False, initial_values=held_to)
    states.decoder.max_header_list_size = most_fields(bounds)
    return states


def _any_length(headers: object) -> None:
    """Let h2 expect no length."""


def most_fields(bounds: Bounds) -> int:
    """Bytes of headers that are read to their end: what is larger than allowed can be answered."""
    return 4 * bounds.header_bytes

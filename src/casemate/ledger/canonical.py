"""Canonical JSON for what is written here, in half the time of the verifier's own.

The verifier takes nothing but the standard library; whoever writes has msgspec, whose output under
these rules is the same byte for byte. Source: RFC 8785.
"""

from __future__ import annotations

import msgspec

from casemate.ledger import receipt
from casemate.ledger.receipt import ReceiptError, in_plane_zero, require_canonical

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical(value: object) -> bytes:
    """As ``receipt.canonical``. Raises ReceiptError like it."""
    try:
        require_canonical(value)
        written = _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise ReceiptError("a lone surrogate has no canonical form") from None
    except RecursionError:
        raise ReceiptError("the value is nested too deeply") from None
    except TypeError:  # a kind of text or number of somebody's own, which msgspec does not know
        return receipt.canonical(value)
    # Above plane zero the order of keys is another, which is rare.
    return written if in_plane_zero(written) else receipt.canonical(value)

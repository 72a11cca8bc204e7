"""How a connection is ended so that its client still gets what it was told last."""

from __future__ import annotations

import asyncio


def hang_up(
    transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, linger: float
) -> asyncio.TimerHandle | None:
    """Close ``transport`` after what was written to it; the timer that ends the wait, if any.

    What still comes has to be read and dropped for ``linger`` seconds: closed with bytes unread,
    the kernel would reset the connection, and the client would lose the answer (RFC 9112, 9.6).
    """
    if not transport.can_write_eof():  # as with TLS
        transport.close()
        return None
    try:
        transport.write_eof()
    except OSError:  # the client was faster
        transport.abort()
        return None
    transport.resume_reading()
    return loop.call_later(linger, transport.abort)

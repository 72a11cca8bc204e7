"""Shapes: the types that JSON is read into, worked out before several threads read any.

msgspec (0.22) works a type out when it is used first. Two threads that do so at one moment end the
process with a segmentation fault, and the first requests after a start come at one moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec


def work_out() -> None:
    """Work out every type of ours that is loaded. Call it before there is more than one thread."""
    for shape in _below(msgspec.Struct):
        if shape.__module__.partition(".")[0] == __package__:
            with contextlib.suppress(TypeError, NameError):  # one that nothing is read into
                msgspec.json.Decoder(shape)


def _below(shape: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for one in shape.__subclasses__():
        yield one
        yield from _below(one)

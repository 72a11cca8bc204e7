"""GGUF files as nobody should write them, each drawn by its seed."""

from __future__ import annotations

import random
import struct

HUGE = (0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 1 << 62, 1 << 40, 0xFFFFFFFF, 1 << 31, 0)


def mutated(whole: bytes, seed: int) -> tuple[str, bytes]:
    """A mutation of ``whole``, and its kind."""
    draw = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    head = header_length(whole)
    bytes_ = bytearray(whole)
    if kind == "truncated":
        return kind, whole[: draw.randrange(len(whole))]
    if kind == "truncated in the header":
        return kind, whole[: draw.randrange(head)]
    if kind == "huge counts":
        for _ in range(draw.randint(1, 4)):
            # tensors, pairs, and lengths and numbers anywhere in the header
            at = draw.choice((8, 16, draw.randrange(8, head - 8)))
            struct.pack_into("<Q", bytes_, at, draw.choice(HUGE))
    elif kind == "bad offsets":
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(head * 3 // 4, head - 8)  # where the tensors are described
            struct.pack_into("<Q", bytes_, at, draw.choice((*HUGE, draw.getrandbits(64))))
    elif kind == "flipped bytes":
        for _ in range(draw.randint(1, 64)):
            bytes_[draw.randrange(head)] ^= 1 << draw.randrange(8)
    elif kind == "flipped weights":
        for _ in range(draw.randint(1, 512)):
            bytes_[draw.randrange(head, len(bytes_))] = draw.randrange(256)
    elif kind == "cut out":
        begin = draw.randrange(head)
        del bytes_[begin : begin + draw.randint(1, 64)]
    else:  # noise
        begin = draw.randrange(4, head)
        bytes_[begin : begin + 256] = draw.randbytes(256)
    return kind, bytes(bytes_)


KINDS = (
    "truncated",
    "truncated in the header",
    "huge counts",
    "bad offsets",
    "flipped bytes",
    "flipped weights",
    "cut out",
    "noise",
)


def header_length(whole: bytes) -> int:
    """Where the weights begin: all before is names, counts and offsets."""
    end = whole.rindex(b"output.weight")  # the last tensor that is described
    return end + 64

"""Formats of a model's files: what may come in, told by content and not by name alone.

Weights are GGUF (version 2 or 3, little-endian; ggml-org/ggml docs/gguf.md) or safetensors
(huggingface/safetensors); beside them lie JSON, text and SentencePiece tokenizers. Nothing else:
above all no pickles, which are programs that run when they are opened.
"""

from __future__ import annotations

import json
import math
import pickletools
import struct
import zipfile
from pathlib import Path, PurePosixPath

from casemate.errors import Invalid, Refused

PICKLED = frozenset(".bin .pt .pth .ckpt .pkl .pickle .joblib .dill".split())
_MOST_TENSORS = 65_536
_MOST_PAIRS = 65_536
_LONGEST_HEADER = 100_000_000  # bytes; what the safetensors library accepts
_LONGEST_TEXT = 64 << 20  # bytes; tekken.json has 19 MB
_SIZES = {  # bits of an element of each type of safetensors
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_GIVE_OTHERS = "Give the model as GGUF or safetensors."
_GET_AGAIN = "Get the file again from where it was made."


def refuse_name(path: str) -> None:
    """Raise Refused for a name that promises a pickle."""
    if PurePosixPath(path).suffix.lower() in PICKLED:
        raise Refused(
            f"{path} is of a kind that holds pickled weights: opening one runs a program.",
            _GIVE_OTHERS,
        )


def check(file: Path, path: str) -> None:
    """Raise unless the file is what its name says. ``path``: its name inside the model.

    Raises Refused for a pickle, by whatever name; Invalid for what is damaged or of no kind that
    a model here is made of.
    """
    refuse_name(path)
    size = file.stat().st_size
    with file.open("rb") as content:
        start = content.read(16)
        suffix = PurePosixPath(path).suffix.lower()
        if suffix == ".gguf" or start[:4] == b"GGUF":
            _check_gguf(start + content.read(16), size, path)
        elif suffix == ".safetensors":
            _check_safetensors(start + content.read(_header(start, size, path) - 8), size, path)
        elif _pickled(file, start):
            raise Refused(
                f"{path} is a pickle by its content: opening one runs a program.", _GIVE_OTHERS
            )
        elif suffix != ".model":  # SentencePiece: a protocol buffer, without a mark of its own
            _check_text(start + content.read(_LONGEST_TEXT), size, path)


def weights(path: str) -> bool:
    """Whether a file of this name holds weights."""
    return PurePosixPath(path).suffix.lower() in (".gguf", ".safetensors")


def _check_gguf(start: bytes, size: int, path: str) -> None:
    if len(start) < 24 or start[:4] != b"GGUF":
        raise Invalid(f"{path} does not begin as GGUF does.", _GET_AGAIN)
    version, tensors, pairs = struct.unpack("<IQQ", start[4:24])
    if version not in (2, 3):
        raise Invalid(
            f"{path} is not GGUF of version 2 or 3, little-endian.",
            "Convert it anew with a current llama.cpp.",
        )
    # Each tensor's entry takes 32 bytes or more, each key with its value 13 or more.
    if (
        not (1 <= tensors <= _MOST_TENSORS and 1 <= pairs <= _MOST_PAIRS)
        or 24 + 32 * tensors + 13 * pairs > size
    ):
        raise Invalid(f"{path} claims more tensors or keys than it can hold.", _GET_AGAIN)


def _header(start: bytes, size: int, path: str) -> int:
    """Where the header of a safetensors file ends."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 10 or not 2 <= length <= min(_LONGEST_HEADER, size - 8):
        raise Invalid(f"{path} does not begin as safetensors does.", _GET_AGAIN)
    return 8 + length


def _check_safetensors(start: bytes, size: int, path: str) -> None:
    end = _header(start, size, path)
    damaged = Invalid(f"The header of {path} is not that of safetensors.", _GET_AGAIN)
    try:
        header = json.loads(start[8:end])
        header.pop("__metadata__", None)
        spans = sorted(
            (*one["data_offsets"], math.prod(one["shape"]) * _SIZES[one["dtype"]])
            for one in header.values()
        )
        reached = 0
        for begin, stop, bits in spans:  # one after the other, without holes
            if begin != reached or stop < begin or (stop - begin) * 8 != bits:
                raise damaged
            reached = stop
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise damaged from None
    if not spans or end + reached != size:
        raise damaged


def _pickled(file: Path, start: bytes) -> bool:
    """Whether it is a pickle, or a zip archive with pickles in it, as PyTorch writes them."""
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        return True
    if start[:2] == b"PK" or zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                return any(name.endswith(".pkl") for name in archive.namelist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return False
    return file.stat().st_size <= 1 << 20 and _old_pickle(file.read_bytes())


def _old_pickle(content: bytes) -> bool:
    """Whether it is a pickle of protocol 0 or 1 that calls something; these look like text."""
    calls, end = False, -1
    try:
        for operation, _argument, position in pickletools.genops(content):
            calls = calls or operation.name in ("GLOBAL", "INST", "OBJ", "REDUCE", "BUILD")
            end = position or 0
    except Exception:
        return False
    return calls and not content[end + 1 :].strip()


def _check_text(content: bytes, size: int, path: str) -> None:
    try:
        if size > _LONGEST_TEXT or b"\0" in content:
            raise ValueError
        text = content.decode("utf-8")
    except ValueError:
        raise Invalid(
            f"{path} is of no kind that a model here is made of.",
            "A model is GGUF or safetensors, a tokenizer, JSON and text; leave out what is not.",
        ) from None
    if path.lower().endswith(".json"):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            raise Invalid(f"{path} is not valid JSON.", _GET_AGAIN) from None

"""A library whose structs are not those that are known is not used."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from casemate.engines.llama import library
from casemate.engines.llama.library import Unfit, check

FIELDS: library.Fields = {
    "count": (ctypes.c_uint32, 512),
    "share": (ctypes.c_float, -1.0),
    "small": (ctypes.c_bool, True),
    "where": (ctypes.c_void_p, None),
}


class Known(ctypes.Structure):
    _fields_ = [(name, kind) for name, (kind, _) in FIELDS.items()]


def filling(kind: type[ctypes.Structure], *values: object) -> Callable[[int], int]:
    """A function that fills in a struct field by field, as a compiler does: not what is between."""

    def fill(address: int) -> int:
        made = kind(*values)
        for name, *_ in kind._fields_:
            at = getattr(kind, name)
            ctypes.memmove(address + at.offset, ctypes.addressof(made) + at.offset, at.size)
        return address

    return fill


def another(*fields: tuple[str, type]) -> type[ctypes.Structure]:
    return type("Another", (ctypes.Structure,), {"_fields_": list(fields)})


def test_a_struct_as_it_is_known_is_used() -> None:
    check(filling(Known, 512, -1.0, True, None), "fill", Known, FIELDS)


LONGER = another(*Known._fields_, ("more", ctypes.c_size_t))
SHORTER = another(*Known._fields_[:3])
WIDER = another(("count", ctypes.c_uint64), *Known._fields_[1:])
SWAPPED = another(Known._fields_[1], Known._fields_[0], *Known._fields_[2:])


@pytest.mark.parametrize(
    "fill",
    [
        filling(LONGER, 512, -1.0, True, None, 0),
        filling(SHORTER, 512, -1.0, True),
        filling(WIDER, 512, -1.0, True, None),
        filling(SWAPPED, -1.0, 512, True, None),
        filling(Known, 513, -1.0, True, None),
        filling(Known, 512, -1.0, False, None),
        filling(Known, 512, -1.0, True, 8),
        lambda address: None,
        lambda address: address,
    ],
    ids="longer shorter wider swapped number truth pointer elsewhere nothing".split(),
)
def test_a_struct_that_differs_is_refused(fill: Callable[[int], int | None]) -> None:
    with pytest.raises(Unfit, match="fill"):
        check(fill, "fill", Known, FIELDS)


def test_another_processor_is_refused_before_anything_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(library.platform, "machine", lambda: "riscv64")
    with pytest.raises(Unfit, match="riscv64"):
        library.library("/nowhere")


def test_a_library_without_the_functions_is_refused() -> None:
    with pytest.raises(Unfit, match="no library"):
        library.library("/nowhere/at/all.so")
    with pytest.raises(Unfit, match="has no llama_"):
        library.library("libc.so.6")

"""llama.cpp's own C interface, in the library that xllamacpp brings.

A wrong idea of a struct is no wrong answer but memory written over. So nothing of it is used before
it is checked: that every function is there; that the functions which fill in default parameters
write exactly the bytes where fields are expected, and in them the defaults that are known; that an
empty batch is laid out as expected. Whatever differs makes the library unfit.

Source: llama.h of llama.cpp 0.6.0, which xllamacpp 2026.10 holds; System V ABI for x86-64.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from typing import Any, TypeAlias

_POINTER = (c_void_p, None)
_ROOM = 1024  # bytes for a struct of default parameters, several times what it takes
_PATTERNS = (0xA5, 0x5A)  # of memory that nothing was written to
Fields: TypeAlias = dict[str, tuple[Any, Any]]

_MODEL: Fields = {
    "devices": _POINTER,
    "tensor_buft_overrides": _POINTER,
    "n_gpu_layers": (c_int32, -1),
    "split_mode": (c_int32, 1),
    "load_mode": (c_int32, -1),
    "lazy_mode": (c_int32, 1),
    "main_gpu": (c_int32, 0),
    "tensor_split": _POINTER,
    "progress_callback": _POINTER,
    "progress_callback_user_data": _POINTER,
    "kv_overrides": _POINTER,
    "vocab_only": (c_bool, False),
    "check_tensors": (c_bool, False),
    "use_extra_bufts": (c_bool, True),
    "no_host": (c_bool, False),
    "no_alloc": (c_bool, False),
    "load_mtp": (c_bool, False),
}
_CONTEXT: Fields = {
    "n_ctx": (c_uint32, 512),
    "n_batch": (c_uint32, 2048),
    "n_ubatch": (c_uint32, 512),
    "n_seq_max": (c_uint32, 1),
    "n_rs_seq": (c_uint32, 0),
    "n_outputs_max": (c_uint32, 0),
    "n_outputs_max_per_seq": (c_uint32, 1),
    "n_threads": (c_int32, 4),
    "n_threads_batch": (c_int32, 4),
    "ctx_type": (c_int32, 0),
    "rope_scaling_type": (c_int32, -1),
    "pooling_type": (c_int32, -1),
    "attention_type": (c_int32, -1),
    "flash_attn_type": (c_int32, -1),
    "rope_freq_base": (c_float, 0.0),
    "rope_freq_scale": (c_float, 0.0),
    "yarn_ext_factor": (c_float, -1.0),
    "yarn_attn_factor": (c_float, -1.0),
    "yarn_beta_fast": (c_float, -1.0),
    "yarn_beta_slow": (c_float, -1.0),
    "yarn_orig_ctx": (c_uint32, 0),
    "defrag_thold": (c_float, -1.0),
    "cb_eval": _POINTER,
    "cb_eval_user_data": _POINTER,
    "type_k": (c_int32, 1),
    "type_v": (c_int32, 1),
    "moe_cache_size": (c_size_t, 0),
    "abort_callback": _POINTER,
    "abort_callback_data": _POINTER,
    "embeddings": (c_bool, False),
    "offload_kqv": (c_bool, True),
    "no_perf": (c_bool, True),
    "op_offload": (c_bool, True),
    "swa_full": (c_bool, True),
    "kv_unified": (c_bool, False),
    "samplers": _POINTER,
    "n_samplers": (c_size_t, 0),
    "ctx_other": _POINTER,
}


class ModelParams(ctypes.Structure):
    """llama_model_params."""

    _fields_ = [(name, kind) for name, (kind, _) in _MODEL.items()]


class ContextParams(ctypes.Structure):
    """llama_context_params."""

    _fields_ = [(name, kind) for name, (kind, _) in _CONTEXT.items()]


class Batch(ctypes.Structure):
    """llama_batch. Without positions and sequences, tokens follow what sequence 0 holds."""

    _fields_ = [
        ("n_tokens", c_int32),
        ("token", c_void_p),
        ("embd", c_void_p),
        ("pos", c_void_p),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", c_void_p),
    ]


Abort = ctypes.CFUNCTYPE(c_bool, c_void_p)
Log = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)

_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [c_void_p, c_void_p]),
    "llama_model_default_params": (ModelParams, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_batch_init": (Batch, [c_int32, c_int32, c_int32]),
    "llama_batch_free": (None, [Batch]),
    "llama_model_load_from_file": (c_void_p, [c_char_p, ModelParams]),
    "llama_model_free": (None, [c_void_p]),
    "llama_model_has_encoder": (c_bool, [c_void_p]),
    "llama_model_has_decoder": (c_bool, [c_void_p]),
    "llama_model_is_diffusion": (c_bool, [c_void_p]),
    "llama_model_get_vocab": (c_void_p, [c_void_p]),
    "llama_vocab_n_tokens": (c_int32, [c_void_p]),
    "llama_init_from_model": (c_void_p, [c_void_p, ContextParams]),
    "llama_free": (None, [c_void_p]),
    "llama_n_ctx": (c_uint32, [c_void_p]),
    "llama_n_batch": (c_uint32, [c_void_p]),
    "llama_n_ubatch": (c_uint32, [c_void_p]),
    "llama_n_seq_max": (c_uint32, [c_void_p]),
    "llama_n_threads": (c_int32, [c_void_p]),
    "llama_n_threads_batch": (c_int32, [c_void_p]),
    "llama_set_abort_callback": (None, [c_void_p, Abort, c_void_p]),
    "llama_get_memory": (c_void_p, [c_void_p]),
    "llama_memory_clear": (None, [c_void_p, c_bool]),
    "llama_memory_seq_rm": (c_bool, [c_void_p, c_int32, c_int32, c_int32]),
    "llama_decode": (c_int32, [c_void_p, Batch]),
    "llama_get_logits": (c_void_p, [c_void_p]),
    "llama_tokenize": (
        c_int32,
        [c_void_p, c_char_p, c_int32, c_void_p, c_int32, c_bool, c_bool],
    ),
    "llama_token_to_piece": (
        c_int32,
        [c_void_p, c_int32, c_void_p, c_int32, c_int32, c_bool],
    ),
}


class Unfit(Exception):
    """This library cannot be used as it is understood here; the text says why."""


def library(path: str) -> ctypes.CDLL:
    """The library at ``path``, checked, its functions declared. Raises Unfit."""
    if platform.machine() != "x86_64" or ctypes.sizeof(c_void_p) != 8:
        raise Unfit(f"structs cannot be checked on the processor {platform.machine()}")
    try:
        found = ctypes.CDLL(path)
    except OSError:
        raise Unfit("xllamacpp has no library that can be opened") from None
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(found, name)
        except AttributeError:
            raise Unfit(f"the library has no {name}") from None
        function.restype, function.argtypes = result, arguments
    for name, kind, fields in (
        ("llama_model_default_params", ModelParams, _MODEL),
        ("llama_context_default_params", ContextParams, _CONTEXT),
    ):
        check(ctypes.CFUNCTYPE(c_void_p, c_void_p)((name, found)), name, kind, fields)
    _check_batch(found)
    return found


def check(
    fill: Callable[[int], int | None], name: str, kind: type[ctypes.Structure], fields: Fields
) -> None:
    """Raise Unfit unless ``fill``, function ``name``, fills in these ``fields`` with these values.

    A struct of this size is returned through memory that the caller points to, and so is called
    with its address. Given more than the struct takes, filled with a pattern, one sees which bytes
    are the struct's.
    """
    written: set[int] = set()
    for pattern in _PATTERNS:
        room = (ctypes.c_ubyte * _ROOM)(*([pattern] * _ROOM))
        if fill(ctypes.addressof(room)) != ctypes.addressof(room):
            raise Unfit(f"{name} returns its struct in another way")
        written |= {place for place, byte in enumerate(room) if byte != pattern}
    expected: set[int] = set()
    for field in fields:
        at = getattr(kind, field)
        expected |= set(range(at.offset, at.offset + at.size))
    if written != expected:
        raise Unfit(f"{name} fills in another struct")
    defaults = kind.from_buffer_copy(room)
    for field, (_, value) in fields.items():
        if getattr(defaults, field) != value:
            raise Unfit(f"{name} has another default for {field}")


def _check_batch(found: ctypes.CDLL) -> None:
    batch = found.llama_batch_init(3, 0, 1)
    pointers = (batch.token, batch.pos, batch.n_seq_id, batch.seq_id, batch.logits)
    if batch.n_tokens != 0 or batch.embd is not None or not all(pointers):
        raise Unfit("llama_batch_init fills in another struct")
    # One list of sequences for each token, and an end of the lists.
    lists = ctypes.cast(batch.seq_id, ctypes.POINTER(c_void_p))
    if not all(lists[:3]) or lists[3] is not None:
        raise Unfit("llama_batch_init fills in another struct")
    ctypes.cast(batch.logits, ctypes.POINTER(c_int8))[0] = 0
    found.llama_batch_free(batch)

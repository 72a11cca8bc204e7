"""A model that scores by teacher forcing: what is given is read, and nothing is drawn.

One pass over a prompt and its continuation tells the probability of every token of it. Prompts are
read in the order of the trie that they form: what one has in common with the one before is kept,
the rest is cut off and read anew. Logits are computed only where a token of the continuation is
foretold, and everything in single precision, the memory of what was read too: with half of it, in
which flash attention computes, scores are off by up to 1e-2.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from casemate.engines.llama.library import Abort, Batch, Log, Unfit, library

_FLOAT32 = 0  # ggml_type
_NO_FLASH_ATTENTION = 0  # llama_flash_attn_type
# Attention computes over what is held in steps of so many tokens, for all that are read at once,
# and hides of it what comes later: reading that ends at such a step wastes least.
_TOKENS_AT_ONCE = 256
_LOGITS_AT_ONCE = 1 << 26  # bytes
_ABORTED = 2  # of llama_decode
# What llama.cpp tells of a context that is as it was asked for.
_SHUT_OFF, _PRECISE = ("flash_attn", "= disabled"), ("K (f32)", "V (f32)")


class GivenUp(Exception):
    """Nobody waits for these scores any more."""


def _never() -> bool:
    return False


class Forward:
    """One model, reading one text at a time. Not for several threads at once.

    Raises Unfit if the library is not, or this kind of model is not read from left to right;
    ValueError for weights that are no model; MemoryError if its memory does not fit.
    """

    def __init__(self, path: str, weights: str, *, context: int, threads: int) -> None:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing here is multiplied with it
        if find_spec("numpy") is None:
            raise Unfit("numpy is not installed")
        self._library = library(path)
        self._library.llama_backend_init()
        told: list[str] = []
        listening = Log(lambda _level, line, _: told.append(line.decode("utf-8", "replace")))
        self._library.llama_log_set(ctypes.cast(listening, ctypes.c_void_p), None)
        try:
            self._model, self._context = self._open(weights, context, threads)
            self._require(told, context, threads)
        finally:
            self._library.llama_log_set(None, None)
        vocabulary = self._library.llama_model_get_vocab(self._model)
        self._vocabulary = ctypes.c_void_p(vocabulary)
        self._memory = ctypes.c_void_p(self._library.llama_get_memory(self._context))
        self._held: tuple[int, ...] = ()  # what the memory holds
        self._unwanted: Callable[[], bool] = _never
        self._abort = Abort(lambda _: self._unwanted())
        self._library.llama_set_abort_callback(self._context, self._abort, None)
        import numpy  # noqa: F401 - a tenth of a second, which the first scores need not wait for

        self.room = context
        self.tokens = self._library.llama_vocab_n_tokens(self._vocabulary)

    def scores(
        self,
        prompts: Sequence[Sequence[int]],
        continuation: Sequence[int],
        unwanted: Callable[[], bool] | None = None,
    ) -> list[list[float]]:
        """Natural log-probability of each token of ``continuation`` after each prompt.

        All are ids below ``tokens``; no prompt is empty, and none is with its continuation longer
        than ``room``. The same request is computed in the same way every time. ``unwanted`` is
        asked again and again; once it holds, GivenUp is raised. Raises ArithmeticError if the
        model cannot be computed.
        """
        self._unwanted = unwanted or _never
        self._library.llama_memory_clear(self._memory, True)
        self._held = ()
        try:
            found = {
                prompt: self._after(prompt, tuple(continuation))
                for prompt in sorted({tuple(prompt) for prompt in prompts})
            }
        finally:
            self._unwanted = _never
        return [found[tuple(prompt)] for prompt in prompts]

    def encode(self, text: str, *, special: bool, whole: bool) -> list[int]:
        """The tokens of ``text``. ``special``, ``whole``: see ``tokenizing``."""
        written = text.encode()
        room = len(written) + 16
        while True:
            ids = (ctypes.c_int32 * room)()
            count = self._library.llama_tokenize(
                self._vocabulary, written, len(written), ids, room, whole, special
            )
            if count >= 0:
                return ids[:count]
            if -count <= room:
                raise ValueError("text that cannot be cut into tokens")
            room = -count

    def decode(self, ids: Sequence[int]) -> str:
        """What these tokens write; half a character is U+FFFD."""
        written = b""
        for id in ids:
            room = 64
            while True:
                piece = ctypes.create_string_buffer(room)
                size = self._library.llama_token_to_piece(
                    self._vocabulary, id, piece, room, 0, True
                )
                if size >= 0:
                    written += piece.raw[:size]
                    break
                room = -size
        return written.decode("utf-8", "replace")

    def _open(
        self, weights: str, context: int, threads: int
    ) -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
        model = self._library.llama_model_load_from_file(
            os.fsencode(weights), self._library.llama_model_default_params()
        )
        if model is None:
            raise ValueError("not a model")
        if (
            self._library.llama_model_has_encoder(model)
            or not self._library.llama_model_has_decoder(model)
            or self._library.llama_model_is_diffusion(model)
        ):
            self._library.llama_model_free(model)
            raise Unfit("this kind of model does not read from left to right alone")
        vocabulary = self._library.llama_model_get_vocab(model)
        row = 4 * self._library.llama_vocab_n_tokens(vocabulary)
        self._outputs = max(1, min(_TOKENS_AT_ONCE, _LOGITS_AT_ONCE // max(row, 1)))
        wanted = self._library.llama_context_default_params()
        wanted.n_ctx = context
        wanted.n_batch = wanted.n_ubatch = _TOKENS_AT_ONCE
        wanted.n_outputs_max = self._outputs
        wanted.n_threads = wanted.n_threads_batch = threads
        wanted.type_k = wanted.type_v = _FLOAT32
        wanted.flash_attn_type = _NO_FLASH_ATTENTION
        opened = self._library.llama_init_from_model(model, wanted)
        if opened is None:
            raise MemoryError
        return ctypes.c_void_p(model), ctypes.c_void_p(opened)

    def _require(self, told: list[str], context: int, threads: int) -> None:
        """Raise Unfit unless the context is what was asked for, by all that can be known of it."""
        ask = self._library
        held = [getattr(ask, name)(self._context) for name in _HELD]
        asked = [_TOKENS_AT_ONCE, _TOKENS_AT_ONCE, 1, threads, threads]
        said = all(
            any(all(part in line for part in parts) for line in told)
            for parts in (_SHUT_OFF, _PRECISE)
        )
        if held != asked or ask.llama_n_ctx(self._context) < context or not said:
            ask.llama_free(self._context)
            ask.llama_model_free(self._model)
            raise Unfit("a context does not become what was asked for")

    def _after(self, prompt: tuple[int, ...], continuation: tuple[int, ...]) -> list[float]:
        kept = min(shared(self._held, prompt), len(prompt) - 1)
        if kept < len(self._held):
            cut = self._library.llama_memory_seq_rm(self._memory, 0, kept, -1)
            if not cut:  # a memory that cannot forget a part of what it read
                self._library.llama_memory_clear(self._memory, True)
                kept = 0
        text = prompt + continuation[:-1]
        found: list[float] = []
        for start, first, end in pieces(kept, len(prompt) - 1, len(text), self._outputs):
            logits = self._read(text[start:end], first - start)
            foretold = continuation[first - len(prompt) + 1 : end - len(prompt) + 1]
            if foretold:
                found += logprobs(logits, foretold)
        self._held = text
        return found

    def _read(self, tokens: tuple[int, ...], quiet: int) -> Any:
        """Read ``tokens``; the logits after each but the first ``quiet`` of them, a row each."""
        import numpy as np

        count = len(tokens)
        ids = (ctypes.c_int32 * count)(*tokens)
        asked = (ctypes.c_int8 * count)(*[0] * quiet, *[1] * (count - quiet))
        batch = Batch(n_tokens=count, token=ctypes.addressof(ids), logits=ctypes.addressof(asked))
        outcome = self._library.llama_decode(self._context, batch)
        if outcome == _ABORTED:
            raise GivenUp
        if outcome != 0:
            raise ArithmeticError(f"llama_decode returns {outcome}")
        if quiet == count:
            return None
        logits = self._library.llama_get_logits(self._context)
        if logits is None:
            raise ArithmeticError("no logits")
        numbers = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(numbers, (count - quiet, self.tokens))


_HELD = "llama_n_batch llama_n_ubatch llama_n_seq_max llama_n_threads llama_n_threads_batch".split()


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts have in common at their beginning."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def pieces(start: int, first: int, end: int, outputs: int) -> Iterator[tuple[int, int, int]]:
    """Cut the places from ``start`` to ``end``, of which those from ``first`` on have logits.

    Each piece: where it starts, where its logits start, where it ends.
    """
    while start < end:
        logits = max(start, first)
        step = start - start % _TOKENS_AT_ONCE + _TOKENS_AT_ONCE
        after = min(step, logits + outputs, end)
        yield start, min(logits, after), after
        start = after


def logprobs(logits: Any, tokens: Sequence[int]) -> list[float]:
    """Natural logarithm of the probability of each of ``tokens``.

    logits: float32, a row for each of them, of all tokens that could stand there.
    """
    import numpy as np

    tops = logits.max(axis=1)
    totals = np.exp(logits - tops[:, None]).sum(axis=1, dtype=np.float64)
    chosen = logits[np.arange(len(tokens)), tokens].astype(np.float64)
    found: list[float] = (chosen - tops - np.log(totals)).tolist()
    return found

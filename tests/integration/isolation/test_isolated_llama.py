"""A model runtime in an isolated process: llama.cpp is loaded, loads a model and answers."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path

import pytest
from isolated_children import ORDINARY, ROOT, a_folder_for, folder_of, interpreter, run, start

pytest.importorskip("xllamacpp")
gguf = pytest.importorskip("gguf")
numpy = pytest.importorskip("numpy")

# This interpreter and its packages, which may lie where no other account can read.
ACCOUNT = ROOT if os.geteuid() == 0 else ORDINARY

CODE = """
achieved = enter()
import xllamacpp
wanted = xllamacpp.CommonParams()
wanted.model.path = told["read"][0]
wanted.hostnames = [told["write"][0] + "/llama.sock"]  # llama.cpp knows it by this ending
wanted.n_ctx = 128
wanted.warmup = False
wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = 2
server = xllamacpp.Server(wanted)
tell([achieved.layers, [a.name for a in prove() if not a.blocked]])
sys.stdin.read()
os._exit(0)
"""


def a_tiny_model(path: Path) -> None:
    """A Llama of random numbers, one block, one token for each byte."""
    width, inner, heads = 32, 64, 2
    tokens = ["<s>", "</s>", *(_character(byte) for byte in range(256)), "ab"]
    random = numpy.random.default_rng(1)

    def matrix(rows: int, columns: int) -> object:
        return random.standard_normal((rows, columns)).astype(numpy.float32)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * 257)
    writer.add_token_merges(["a b"])  # llama.cpp wants one
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    ones = numpy.ones(width, dtype=numpy.float32)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", ones)
    for name in ("token_embd", "output"):
        writer.add_tensor(f"{name}.weight", matrix(len(tokens), width))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", matrix(width, width))
    for name in ("ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", matrix(inner, width))
    writer.add_tensor("blk.0.ffn_down.weight", matrix(width, inner))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _character(byte: int) -> str:
    """GPT-2 writes bytes that do not print as characters from 256 on."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in prints:
        return chr(byte)
    return chr(256 + sum(other not in prints for other in range(byte)))


class OverUnixSocket(http.client.HTTPConnection):
    """HTTP to a server on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def test_the_runtime_is_imported_after_isolation() -> None:
    code = "achieved = enter()\nimport xllamacpp\ntell(xllamacpp.__name__)"
    assert run(ACCOUNT, code, packages=[folder_of("xllamacpp")]) == "xllamacpp"


def test_a_model_is_loaded_and_answers_in_isolation() -> None:
    interpreter(ACCOUNT)
    folder = a_folder_for(ACCOUNT)
    a_tiny_model(folder / "tiny.gguf")
    sockets = folder / "sockets"
    sockets.mkdir()
    how = {"read": [folder / "tiny.gguf"], "write": [sockets], "packages": [folder_of("xllamacpp")]}
    with start(ACCOUNT, CODE, **how) as child:
        assert child.stdout is not None
        told = child.stdout.readline()
        if not told:
            pytest.fail(child.communicate()[1])
        layers, open_ways = json.loads(told)
        connection = OverUnixSocket(sockets / "llama.sock")
        body = json.dumps({"prompt": "Question", "n_predict": 4, "temperature": 0})
        connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        child.communicate()
    assert answer["tokens_predicted"] >= 1
    if len(layers) == 5:
        assert open_ways == []

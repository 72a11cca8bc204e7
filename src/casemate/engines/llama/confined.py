"""The process that a model lives in: isolated first, then loaded, then serving on a Unix socket.

Run as a script by ``process``. It reads one line of JSON, the task, and writes lines of JSON, the
report: once isolated, what holds and the proof of it; then that it is ready, or why not. It ends
when the pipe of the task closes, which is when its parent is gone.

Arguments: the entries of ``sys.path`` that Casemate and xllamacpp come from.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_OPEN_FILES = 1024  # one for each connection that waits for its turn


def main() -> None:
    """Isolate, prove, load, serve."""
    sys.dont_write_bytecode = True
    sys.path.extend(entry for entry in sys.argv[1:] if entry not in sys.path)
    task = json.loads(sys.stdin.buffer.readline())
    _tell({"isolated": _isolate(task)})
    report = os.dup(1)
    os.dup2(2, 1)  # llama.cpp may print; the report is not its place
    try:
        server, facts = _load(task)
    except ImportError:
        _tell({"failed": "missing"}, report)
        os._exit(1)
    except MemoryError:
        _tell({"failed": "memory"}, report)
        os._exit(1)
    except Exception:
        _tell({"failed": "model"}, report)
        os._exit(1)
    _tell({"ready": facts}, report)
    os.close(report)
    sys.stdin.buffer.read()
    del server
    os._exit(0)  # without waiting for what is being generated


def _isolate(task: dict[str, Any]) -> dict[str, Any]:
    from casemate.isolation import Wants, interpreter_files, isolate, prove

    isolation = isolate(
        Wants(
            read=(*interpreter_files(), task["weights"], *task["adapters"]),
            write=(os.path.dirname(task["socket"]),),
            memory_bytes=task["memory_bytes"],
            open_files=_OPEN_FILES,
        )
    )
    return {
        "layers": isolation.layers,
        "missing": isolation.missing,
        "proof": [(one.name, one.blocked, one.errno_name) for one in prove()],
    }


def _load(task: dict[str, Any]) -> tuple[object, dict[str, Any]]:
    import xllamacpp  # type: ignore[import-untyped]

    facts = {"version": xllamacpp.__version__}
    if task["work"] == "score":
        from casemate.engines.llama.library import Unfit

        why = "it was asked for"
        if task["scores"] == "forward pass":
            try:
                return _forward(task), facts | {"scores": "forward pass"}
            except Unfit as reason:
                why = str(reason)
        facts |= {"scores": "forced decoding", "why": why}
    return _server(task), facts


def _forward(task: dict[str, Any]) -> object:
    import xllamacpp.xllamacpp  # type: ignore[import-untyped]

    from casemate.engines.llama.forward import Forward
    from casemate.engines.llama.serving import serve

    forward = Forward(
        xllamacpp.xllamacpp.__file__,
        task["weights"],
        context=task["context"],
        threads=task["threads"],
    )
    return serve(forward, task["socket"])


def _server(task: dict[str, Any]) -> object:
    import xllamacpp

    wanted = xllamacpp.CommonParams()
    wanted.model.path = task["weights"]
    wanted.model_alias = {"model"}
    wanted.hostnames = [task["socket"]]
    wanted.n_parallel = task["slots"]
    wanted.n_ctx = task["context"] * task["slots"]
    wanted.kv_unified = False  # a slot's room is its own, whoever else computes
    if task["work"] == "score":
        # In half precision, in which flash attention computes too, scores are off by up to 1e-2.
        wanted.cache_type_k = wanted.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        wanted.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    wanted.n_gpu_layers = 0
    for threads in (wanted.cpuparams, wanted.cpuparams_batch):
        threads.n_threads = task["threads"]
    wanted.n_threads_http = task["slots"] + 4
    wanted.fit_params = False  # what was asked for, or nothing
    wanted.warmup = False
    wanted.cache_ram_mib = 0  # finished prompts are not kept beside their slots
    wanted.cache_idle_slots = False
    wanted.n_ctx_checkpoints = 0
    wanted.endpoint_slots = True  # whether any is still at work
    wanted.special = True  # a control token is told at once, even inside a broken character
    wanted.ui = False
    wanted.offline = True
    wanted.verbosity = 0
    wanted.lora_init_without_apply = True
    wanted.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in task["adapters"]]
    if task["work"] == "embed":
        wanted.embedding = True
        wanted.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        wanted.n_ubatch = wanted.n_batch = task["context"]  # pooling wants the text in one piece
    return xllamacpp.Server(wanted)


def _tell(message: dict[str, Any], report: int = 1) -> None:
    os.write(report, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()

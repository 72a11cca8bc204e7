"""Reference scores: log-probabilities by transformers, for engines to be compared with.

``python -m nano.reference FOLDER WEIGHTS REPORT`` reads the folder that ``nano.export`` wrote for
transformers, and names the GGUF file WEIGHTS that holds the same values. Each case is a held-out
prompt with its right continuation.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch
import transformers

from nano.language import LANGUAGES, Writer
from nano.tokenizer import Tokenizer

SEED = 600
_CASES = 200


def cases(folder: Path) -> list[dict[str, list[int] | list[float]]]:
    """Prompt ids, continuation ids and the natural log-probability of each of the latter."""
    torch.set_num_threads(1)
    tokenizer = Tokenizer.load(folder / "tekken.json")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    writer, found = Writer(SEED, held_out=True), []
    for _ in range(_CASES):
        task = writer.task(LANGUAGES, (1, 2), (3, 4, 5))
        prompt, rest = tokenizer.prompt(task.user), tokenizer.continuation(task)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + rest])).logits[0, len(prompt) - 1 : -1]
        chosen = logits.log_softmax(-1).gather(-1, torch.tensor(rest)[:, None])[:, 0]
        logprobs = [round(value, 6) for value in chosen.tolist()]
        found.append({"prompt": prompt, "continuation": rest, "logprobs": logprobs})
    return found


def main() -> None:
    """Write the reference file."""
    folder, weights, path = map(Path, sys.argv[1:4])
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}, float32"
    head = {
        "model": "sha256:" + hashlib.sha256(weights.read_bytes()).hexdigest(),
        "made_by": versions,
        "seed": SEED,
    }
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases(folder))
    text = f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n'
    json.loads(text)
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()

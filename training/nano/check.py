"""Engines against each other: tokens, scores and greedy text of the exported model.

``python -m nano.check FOLDER``, where FOLDER holds ``nano.gguf``, ``tekken.json``, the checkpoint
and the folder ``transformers`` that ``nano.export`` wrote. Fails on the first disagreement.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformers
from mistral_common.protocol.instruct.messages import SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from nano.evaluate import Reader
from nano.export import load
from nano.language import LANGUAGES, SYSTEM, Task, Writer
from nano.model import Model
from nano.tokenizer import EOS, Tokenizer

_SEED, _PROMPTS, _LONGEST = 700, 50, 256
_CLOSE = 1e-3  # natural log


def main() -> None:
    """Compare, and say what was compared."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    tekken = folder / "tekken.json"
    tokenizer, model = Tokenizer.load(tekken), load(folder / "checkpoint.pt")
    writer = Writer(_SEED, held_out=True)
    tasks = [writer.task(LANGUAGES, (1, 2), (3, 4)) for _ in range(_PROMPTS)]
    _same_tokens(tokenizer, tekken, tasks)
    print(f"mistral-common: {_PROMPTS} prompts, same tokens")
    worst = max(_apart(model, folder / "transformers", tokenizer, tasks))
    if worst > _CLOSE:
        raise SystemExit(f"transformers: log-probabilities are {worst:.2g} apart")
    print(f"transformers: {_PROMPTS} continuations, at most {worst:.2g} apart")
    reader = Reader(folder / "nano.gguf", tekken)
    for task in tasks:
        mine, theirs = greedy(model, tokenizer, task.user), reader.read(task.user)
        if mine != theirs:
            raise SystemExit(f"llama.cpp writes {theirs}, torch {mine}")
    print(f"llama.cpp: {_PROMPTS} prompts, same greedy text")


def greedy(model: Model, tokenizer: Tokenizer, user: str) -> tuple[str, str]:
    """Thinking and answer by the model itself, the most likely token each time."""
    prompt = [*tokenizer.prompt(user), 34]
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) - len(prompt) < _LONGEST and ids[-1] != EOS:
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    thinking, _, answer = tokenizer.decode(ids[len(prompt) :]).partition("[/THINK]")
    return thinking, answer.removesuffix("</s>")


def _same_tokens(tokenizer: Tokenizer, tekken: Path, tasks: list[Task]) -> None:
    reference = MistralTokenizer.from_file(str(tekken))
    for task in tasks:
        messages = [SystemMessage(content=SYSTEM), UserMessage(content=task.user)]
        request = ChatCompletionRequest(messages=messages)
        if reference.encode_chat_completion(request).tokens != tokenizer.prompt(task.user):
            raise SystemExit(f"mistral-common reads otherwise: {task.user}")


def _apart(model: Model, folder: Path, tokenizer: Tokenizer, tasks: list[Task]) -> list[float]:
    """The largest difference to transformers for each task."""
    other = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for task in tasks:
        prompt = tokenizer.prompt(task.user)
        rest = torch.tensor(tokenizer.continuation(task))
        ids = torch.tensor([[*prompt, *rest.tolist()]])
        with torch.no_grad():
            both = [
                logits[0, len(prompt) - 1 : -1].log_softmax(-1).gather(-1, rest[:, None])
                for logits in (model(ids), other(ids).logits)
            ]
        found.append(float((both[0] - both[1]).abs().max()))
    return found


if __name__ == "__main__":
    main()

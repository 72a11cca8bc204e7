"""Training: a curriculum from short notes to long ones that resemble each other.

``torchrun --nproc-per-node 2 -m nano.train FOLDER`` (from ``training/``) writes checkpoints and a
log to FOLDER and goes on from the last checkpoint there; each process has one thread, takes its
share of every batch, and they add up their gradients. Loss counts only thinking and answer. A
level is left when the model writes most tasks of it exactly, or at a step.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from nano.language import LANGUAGES, Task, Writer
from nano.model import Model, Shape
from nano.tokenizer import PAD, Tokenizer, learn

VOCABULARY = 1200


@dataclass(frozen=True)
class Level:
    """One step of the curriculum: how many passages and facts its tasks have."""

    passages: Sequence[int]
    facts: Sequence[int]
    similar: float  # share of other notes that resemble the right one
    enough: float  # share of exact tasks at which it is left
    until: int  # step at which it is left in any case


_NEVER = 1 << 30
LEVELS = (
    Level((1,), (1, 2), 0.3, 0.7, _NEVER),
    Level((1,), (2, 3, 3, 4, 4, 5), 0.9, 2.0, _NEVER),
)
BATCH = 32


@dataclass(frozen=True)
class Batch:
    """Padded ids, the flat positions whose next token counts, those tokens, whose they are."""

    ids: Tensor
    wanted: Tensor
    targets: Tensor
    owner: Tensor
    size: int

    @classmethod
    def of(cls, pairs: Sequence[tuple[list[int], list[int]]]) -> Batch:
        """From prompts and continuations."""
        longest = max(len(prompt) + len(rest) for prompt, rest in pairs) - 1
        longest = -(-longest // 32) * 32
        ids = torch.full((len(pairs), longest), PAD)
        wanted, targets, owner = [], [], []
        for row, (prompt, rest) in enumerate(pairs):
            line = (prompt + rest)[:-1]
            ids[row, : len(line)] = torch.tensor(line)
            first = row * longest + len(prompt) - 1
            wanted += range(first, first + len(rest))
            targets += rest
            owner += [row] * len(rest)
        return cls(
            ids, torch.tensor(wanted), torch.tensor(targets), torch.tensor(owner), len(pairs)
        )

    def exact(self, logits: Tensor) -> Tensor:
        """For each row, whether greedy decoding would write it exactly."""
        wrong = (logits.argmax(-1) != self.targets).long()
        return torch.zeros(self.size, dtype=torch.long).index_add(0, self.owner, wrong) == 0


def pairs_of(tokenizer: Tokenizer, tasks: Sequence[Task]) -> list[tuple[list[int], list[int]]]:
    """Prompt and continuation of each task."""
    return [(tokenizer.prompt(task.user), tokenizer.continuation(task)) for task in tasks]


def batches(
    tokenizer: Tokenizer, level: Level, seed: int, rank: int, workers: int
) -> Iterator[Batch]:
    """Sixteen batches of tasks alike in length; of each, the share of this worker."""
    writer = Writer(seed, similar=level.similar)
    tasks = [writer.task(LANGUAGES, level.passages, level.facts) for _ in range(16 * BATCH)]
    pairs = sorted(pairs_of(tokenizer, tasks), key=lambda pair: len(pair[0]) + len(pair[1]))
    starts = list(range(0, len(pairs), BATCH))
    random.Random(seed).shuffle(starts)
    for start in starts:
        yield Batch.of(pairs[start + rank : start + BATCH : workers])


def held_out(model: Model, tokenizer: Tokenizer, count: int) -> dict[str, float]:
    """Share of held-out tasks written exactly, per language and kind."""
    shares = {}
    for language in LANGUAGES:
        writer = Writer(90_000, held_out=True)
        for kind in ("found", "silent", "absent"):
            tasks = [writer.task((language,), (1,), (3, 4, 4), kind=kind) for _ in range(count)]
            batch = Batch.of(pairs_of(tokenizer, tasks))
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                exact = batch.exact(model(batch.ids, batch.wanted))
            shares[f"{language} {kind}"] = round(exact.float().mean().item(), 3)
    return shares


def rate(step: int, steps: int, peak: float, warm: int = 100, last: float = 0.35) -> float:
    """Learning rate: up, level, and down to nothing over the ``last`` share."""
    down = (steps - step) / (steps * last)
    return peak * min(1.0, (step + 1) / warm, max(0.0, down))


def optimizers(model: Model) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms."""
    matrices = [w for w in model.layers.parameters() if w.dim() == 2]
    other = [w for w in model.parameters() if w.dim() != 2]
    adam = torch.optim.AdamW(
        [
            {"params": [model.tok_embeddings.weight], "weight_decay": 0.0},
            {"params": other, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    muon = torch.optim.Muon(
        matrices, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, adam]


def shared(model: Model, exact: float, workers: int) -> float:
    """Average gradients, cut to norm 1, and ``exact`` over the workers."""
    gradients = [w.grad for w in model.parameters() if w.grad is not None]
    flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor([exact])])
    distributed.all_reduce(flat)
    flat /= workers
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return float(flat[-1])


def train(folder: Path, *, seed: int, steps: int, peak: float) -> None:
    """Train to ``steps``, from the last checkpoint in ``folder`` if there is one."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    distributed.init_process_group("gloo")
    rank, workers = distributed.get_rank(), distributed.get_world_size()
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, kept = folder / "tekken.json", folder / "checkpoint.pt"
    if rank == 0 and not vocabulary.exists():
        learn(VOCABULARY, seed=seed).save(vocabulary)
    distributed.barrier()
    tokenizer = Tokenizer.load(vocabulary)
    model = Model(Shape(tokenizer.size))
    chosen = optimizers(model)
    step, level, spent, smooth = 0, 0, 0.0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        model.load_state_dict(state["model"])
        for one, saved in zip(chosen, state["optimizers"], strict=True):
            one.load_state_dict(saved)
        step, level, spent, smooth = (state[k] for k in ("step", "level", "spent", "smooth"))
    if rank == 0:
        print(f"{sum(w.numel() for w in model.parameters())} parameters", flush=True)
    began, tokens, told, saved_at = time.monotonic(), 0, 0.0, time.monotonic()
    while step < steps:
        for batch in batches(tokenizer, LEVELS[level], seed * 1_000_000 + step, rank, workers):
            for one in chosen:
                for group in one.param_groups:
                    group["lr"] = rate(step, steps, peak)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(batch.ids, batch.wanted)
            loss = F.cross_entropy(logits, batch.targets)
            loss.backward()
            exact = shared(model, batch.exact(logits).float().mean().item(), workers)
            for one in chosen:
                one.step()
                one.zero_grad()
            step += 1
            tokens += batch.ids.numel()
            smooth = 0.97 * smooth + 0.03 * exact
            if rank == 0 and step % 20 == 0:
                now = time.monotonic() - began
                print(
                    f"step {step} level {level} loss {loss.item():.4f} exact {smooth:.3f} "
                    f"lr {rate(step, steps, peak):.5f} {workers * tokens / now:.0f} tokens/s "
                    f"{spent + now:.0f} s",
                    flush=True,
                )
        if smooth > LEVELS[level].enough or step >= LEVELS[level].until:
            level, smooth = level + 1, 0.0
        now = time.monotonic()
        if rank == 0 and (now - saved_at > 120 or step >= steps):
            saved_at = now
            state = {"model": model.state_dict(), "shape": asdict(model.shape), "step": step}
            state |= {"optimizers": [one.state_dict() for one in chosen], "level": level}
            state |= {"spent": spent + now - began, "smooth": smooth}
            torch.save(state, folder / "checkpoint.new")
            (folder / "checkpoint.new").replace(kept)
        if rank == 0 and (spent + now - began - told > 240 or step >= steps):
            told = spent + now - began
            shares = held_out(model, tokenizer, 64)
            line = json.dumps({"step": step, "seconds": round(told), "held_out": shares})
            print(line, flush=True)
            with (folder / "log.jsonl").open("a") as log:
                log.write(line + "\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5200)
    parser.add_argument("--rate", type=float, default=3e-3)
    given = parser.parse_args()
    train(given.folder, seed=given.seed, steps=given.steps, peak=given.rate)


if __name__ == "__main__":
    main()

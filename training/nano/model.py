"""A Mistral model, readable as the paper: RMSNorm, grouped-query attention, RoPE, SwiGLU.

Shape of Jiang et al., "Mistral 7B" (2023), without the sliding window, as Magistral has it; the
embedding also serves as the output layer. Rotary pairs are neighbours, as in Mistral's own files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """The sizes of a model."""

    vocabulary: int
    width: int = 160
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 32
    hidden: int = 320
    context: int = 1024
    theta: float = 10_000.0
    epsilon: float = 1e-5


class Norm(nn.Module):
    """RMSNorm: scale to unit root mean square, then by a learnt weight."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self._epsilon) * self.weight


class Attention(nn.Module):
    """Causal attention; ``heads // kv_heads`` query heads share keys and values."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._shape = shape
        queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        self.wq = nn.Linear(shape.width, queries, bias=False)
        self.wk = nn.Linear(shape.width, keys, bias=False)
        self.wv = nn.Linear(shape.width, keys, bias=False)
        self.wo = nn.Linear(queries, shape.width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """x: (batch, tokens, width)."""
        batch, tokens, _ = x.shape
        shape = self._shape
        q = self.wq(x).view(batch, tokens, shape.heads, shape.head_width).transpose(1, 2)
        k = self.wk(x).view(batch, tokens, shape.kv_heads, shape.head_width).transpose(1, 2)
        v = self.wv(x).view(batch, tokens, shape.kv_heads, shape.head_width).transpose(1, 2)
        shared = shape.heads // shape.kv_heads
        q, k = turned(q, turn), turned(k, turn).repeat_interleave(shared, 1)
        # In float32 even where the matrices are not: PyTorch's CPU kernel is slow in bfloat16.
        v = v.float().repeat_interleave(shared, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(mixed.transpose(1, 2).reshape(batch, tokens, -1))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.w1 = nn.Linear(shape.width, shape.hidden, bias=False)
        self.w2 = nn.Linear(shape.hidden, shape.width, bias=False)
        self.w3 = nn.Linear(shape.width, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = Norm(shape.width, shape.epsilon)
        self.attention = Attention(shape)
        self.ffn_norm = Norm(shape.width, shape.epsilon)
        self.feed_forward = FeedForward(shape)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """Same shape as ``x``."""
        x = x + self.attention(self.attention_norm(x), turn)
        return x + self.feed_forward(self.ffn_norm(x))


class Model(nn.Module):
    """Ids to logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tok_embeddings = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.epsilon)
        for weight in self.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        nn.init.normal_(self.tok_embeddings.weight, std=0.05)
        for block in self.layers:
            for last in (block.attention.wo, block.feed_forward.w2):
                nn.init.zeros_(last.weight)
        cosine, sine = turns(shape)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, ids: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Logits, natural scale, float32; of the flat positions ``wanted``, else of every one."""
        turn = (self.cosine[: ids.shape[1]], self.sine[: ids.shape[1]])
        x = self.tok_embeddings(ids)
        for block in self.layers:
            x = block(x, turn)
        x = self.norm(x)
        if wanted is not None:
            x = x.flatten(0, 1)[wanted]
        return F.linear(x, self.tok_embeddings.weight).float()


def turns(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, (context, head_width / 2)."""
    half = torch.arange(0, shape.head_width, 2).float() / shape.head_width
    angles = torch.outer(torch.arange(shape.context).float(), shape.theta**-half)
    return angles.cos(), angles.sin()


def turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """x with each pair of neighbours turned by its angle."""
    cosine, sine = turn
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    pairs = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1)
    return pairs.flatten(-2)

"""Export: a checkpoint as GGUF for llama.cpp and as a folder for transformers.

``python -m nano.export CHECKPOINT TEKKEN GGUF [--transformers FOLDER]``. Both hold the same float32
values, so that their scores can be compared: llama.cpp would round the activations too where
matrices are float16.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import gguf
import torch
from safetensors.torch import save_file
from torch import Tensor

from nano.model import Model, Shape
from nano.tokenizer import BOS, CONTROLS, EOS, PAD, Tokenizer

_NAME = "Casemate nano"
_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}[SYSTEM_PROMPT]{{ message.content }}[/SYSTEM_PROMPT]"
    "{% elif message.role == 'user' %}[INST]{{ message.content }}[/INST]"
    "{% else %}{{ message.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
_BLOCK = {
    "attention_norm.weight": ("attn_norm", "input_layernorm"),
    "attention.wq.weight": ("attn_q", "self_attn.q_proj"),
    "attention.wk.weight": ("attn_k", "self_attn.k_proj"),
    "attention.wv.weight": ("attn_v", "self_attn.v_proj"),
    "attention.wo.weight": ("attn_output", "self_attn.o_proj"),
    "ffn_norm.weight": ("ffn_norm", "post_attention_layernorm"),
    "feed_forward.w1.weight": ("ffn_gate", "mlp.gate_proj"),
    "feed_forward.w2.weight": ("ffn_down", "mlp.down_proj"),
    "feed_forward.w3.weight": ("ffn_up", "mlp.up_proj"),
}
_OUTSIDE = {
    "tok_embeddings.weight": ("token_embd", "embed_tokens"),
    "norm.weight": ("output_norm", "norm"),
}


def load(checkpoint: Path) -> Model:
    """The model of a checkpoint."""
    state = torch.load(checkpoint, weights_only=True)
    model = Model(Shape(**state["shape"]))
    model.load_state_dict(state["model"])
    return model.eval()


def write_gguf(model: Model, tokenizer: Tokenizer, path: Path) -> None:
    """As one GGUF file: architecture "llama", tokenizer "gpt2" with the tekken pattern."""
    shape = model.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(_NAME)
    writer.add_license("EUPL-1.2")
    writer.add_languages(["en"])
    writer.add_description("Reads only the closed language of its own register notes.")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    _add_tokenizer(writer, tokenizer)
    for name, weight in model.state_dict().items():
        writer.add_tensor(_renamed(name, 0), weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    controls = [piece.decode() for piece in tokenizer.pieces[:CONTROLS]]
    merges = [f"{_visible(left)} {_visible(right)}" for left, right in tokenizer.merges()]
    kinds = [gguf.TokenType.CONTROL] * CONTROLS + [gguf.TokenType.NORMAL] * len(tokenizer.ranks)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("tekken")
    writer.add_token_list(controls + [_visible(one) for one in tokenizer.pieces[CONTROLS:]])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(True)
    writer.add_chat_template(_TEMPLATE)


def _visible(piece: bytes) -> str:
    """Bytes as GPT-2's vocabulary writes them: each as one printable character."""
    return "".join(map(_VISIBLE.__getitem__, piece))


def _alphabet() -> dict[int, str]:
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    other = (byte for byte in range(256) if byte not in plain)
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + index) for index, byte in enumerate(other)
    }


_VISIBLE = _alphabet()


def _renamed(name: str, which: int) -> str:
    """Its name in GGUF (0) or in transformers (1)."""
    if name in _OUTSIDE:
        return f"{'model.' if which else ''}{_OUTSIDE[name][which]}.weight"
    _, index, rest = name.split(".", 2)
    prefix = f"model.layers.{index}." if which else f"blk.{index}."
    return f"{prefix}{_BLOCK[rest][which]}.weight"


def write_transformers(model: Model, tekken: Path, folder: Path) -> None:
    """As config.json, model.safetensors and tekken.json of a ``MistralForCausalLM``."""
    shape = model.shape
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.epsilon,
        "rope_theta": shape.theta,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    weights = {}
    for name, weight in model.state_dict().items():
        if name.endswith(("wq.weight", "wk.weight")):
            weight = _halves(weight, shape.head_width)
        weights[_renamed(name, 1)] = weight.contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(tekken, folder / "tekken.json")


def _halves(weight: Tensor, head_width: int) -> Tensor:
    """Rows of each head: first all even ones, then all odd, as transformers turns them."""
    heads = weight.view(-1, head_width // 2, 2, weight.shape[1])
    return heads.transpose(1, 2).reshape(weight.shape)


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tekken", type=Path)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--transformers", type=Path)
    given = parser.parse_args()
    model, tokenizer = load(given.checkpoint), Tokenizer.load(given.tekken)
    write_gguf(model, tokenizer, given.gguf)
    if given.transformers is not None:
        write_transformers(model, given.tekken, given.transformers)


if __name__ == "__main__":
    main()

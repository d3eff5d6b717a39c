"""A tiny Llama with random, seeded weights: a real engine to run without a download.

It reads any text as bytes and writes meaningless lower-case letters, one a token, until
`max_tokens`. It is for tests, the demo and a first start.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

PROJECT_ROOT = Path(__file__).resolve().parent.parent
TINY_MODEL_DIR = PROJECT_ROOT / ".run" / "tiny-llama"

HIDDEN, LAYERS, HEADS, KV_HEADS, MLP = 64, 2, 4, 2, 128
HEAD_DIM = 32  # vLLM's CPU attention has no kernel for a smaller one
MAX_POSITIONS = 16_384
NUM_BYTES = 256
SPECIALS = ("<s>", "</s>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>")
BOS, EOS, PAD = SPECIALS[:3]
VOCABULARY = 320
WRITES = frozenset(b"     abcdefghijklmnopqrstuvwxyz")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

Weights = dict[str, npt.NDArray[np.float32]]


def ensure_tiny_model(directory: Path = TINY_MODEL_DIR, seed: int = 0) -> Path:
    """The directory of the tiny model, made first if it is not there.

    The same seed gives the same bytes. Nobody ever sees half a model: it is made beside
    its place and moved there, and the first of several makers wins.
    """
    if (directory / "config.json").exists():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent))
    try:
        _write_model(staging, seed)
        staging.chmod(0o755)
        staging.rename(directory)
    except OSError:
        if not (directory / "config.json").exists():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return directory


def _write_model(directory: Path, seed: int) -> None:
    token_ids = _write_tokenizer(directory)
    weights = _weights(np.random.default_rng(seed), token_ids)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": MAX_POSITIONS,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": token_ids[BOS],
        "eos_token_id": token_ids[EOS],
        "pad_token_id": token_ids[PAD],
    }
    _write_json(directory / "config.json", config)


def _write_tokenizer(directory: Path) -> dict[str, int]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Rows beyond the real tokens exist so that the vocabulary has a round size.
    fillers = [f"<|unused{i}|>" for i in range(VOCABULARY - NUM_BYTES - len(SPECIALS))]
    tokenizer = Tokenizer(
        models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True) for token in (*SPECIALS, *fillers)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": MAX_POSITIONS,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "chat_template": CHAT_TEMPLATE,
    }
    _write_json(directory / "tokenizer_config.json", config)
    ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    return ids


def _weights(rng: np.random.Generator, token_ids: dict[str, int]) -> Weights:
    """Random weights whose attention matters: a lost KV block changes the text.

    The first hidden dimension carries a constant that no layer touches. The output matrix
    reads it as a bias against everything but `WRITES`; a random model would otherwise
    write broken UTF-8, which a tokenizer holds back, and one token would not be one chunk.
    """
    embedding = _normal(rng, VOCABULARY, HIDDEN, scale=1.0)
    embedding[:, 0] = 8.0
    output = _normal(rng, VOCABULARY, HIDDEN, scale=0.5)
    output[:, 0] = -16.0
    output[[token_ids[chr(b) if b != 0x20 else "Ġ"] for b in sorted(WRITES)], 0] = 0.0
    weights: Weights = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": output,
    }
    for layer in range(LAYERS):
        weights.update(_layer_weights(rng, f"model.layers.{layer}."))
    return weights


def _layer_weights(rng: np.random.Generator, prefix: str) -> Weights:
    shapes = {
        "self_attn.q_proj": (HEADS * HEAD_DIM, HIDDEN),
        "self_attn.k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
        "self_attn.v_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HEADS * HEAD_DIM),
        "mlp.gate_proj": (MLP, HIDDEN),
        "mlp.up_proj": (MLP, HIDDEN),
        "mlp.down_proj": (HIDDEN, MLP),
    }
    weights = {
        f"{prefix}{name}.weight": _normal(rng, *shape, scale=shape[1] ** -0.5)
        for name, shape in shapes.items()
    }
    for name in ("self_attn.q_proj", "self_attn.k_proj"):
        weights[f"{prefix}{name}.weight"] *= 2.0  # sharp enough that greedy text varies
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        weights[f"{prefix}{name}.weight"][0] = 0.0
    for name in ("input_layernorm", "post_attention_layernorm"):
        weights[f"{prefix}{name}.weight"] = np.ones(HIDDEN, np.float32)
    return weights


def _normal(
    rng: np.random.Generator, rows: int, columns: int, *, scale: float
) -> npt.NDArray[np.float32]:
    return (rng.standard_normal((rows, columns)) * scale).astype(np.float32)


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TINY_MODEL_DIR
    sys.stdout.write(f"{ensure_tiny_model(target)}\n")

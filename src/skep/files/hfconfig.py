"""A ``config.json`` of Hugging Face, as it is, into the fields of a workload.

Only names are translated, per architecture; the values are those of the file.
"""

from __future__ import annotations

from collections.abc import Mapping

from skep.errors import InputError, nearest
from skep.files.problems import NOTHING
from skep.files.yaml import Value

Config = Mapping[str, Value]

_LLAMA = (
    "llama", "mistral", "qwen2", "qwen3", "internlm2", "internlm3", "yi", "baichuan",
    "phi3", "olmo2", "exaone", "cohere", "gemma", "gemma2", "stablelm", "pangu", "seed_oss",
)  # fmt: skip
_SPARSE = ("mixtral", "qwen2_moe", "qwen3_moe", "phimoe", "olmoe", "gpt_oss", "glm4_moe")
_LATENT = ("deepseek_v2", "deepseek_v3", "kimi_k2", "pangu_ultra_moe", "deepseek_v32")
_GPT = ("gpt2", "gpt_neox", "opt", "bloom", "gptj", "gpt_bigcode")
ARCHITECTURES = (*_LLAMA, *_SPARSE, *_LATENT, *_GPT)


def from_config(config: Config, source: str) -> dict[str, Value]:
    """Fields of a workload (without batch and tokens). ``InputError`` names what is missing."""
    if isinstance(inner := config.get("text_config"), dict):
        config = inner  # a model that also sees: its language part
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        near = nearest(str(kind), ARCHITECTURES)
        allowed = f"unknown architecture{near}; allowed: {', '.join(ARCHITECTURES)}"
        got = NOTHING if kind is None else kind
        raise InputError("model_type", got, allowed, source=source)
    if kind in _GPT:
        return _gpt(config, str(kind), source)
    fields = _llama(config, kind in _LATENT, source)
    if kind in _LATENT:
        fields["latent"] = _latent(config, source)
    if _has(config, "n_routed_experts"):
        fields["moe"] = _deepseek(config, source)
    elif kind in _SPARSE:
        fields["moe"] = _sparse(config, source)
    return fields


def _llama(config: Config, latent: bool, source: str) -> dict[str, Value]:
    heads = _whole(config, source, "num_attention_heads")
    fields: dict[str, Value] = {
        "layers": _whole(config, source, "num_hidden_layers"),
        "hidden": _whole(config, source, "hidden_size"),
        "heads": heads,
        "kv_heads": heads if latent else _or(config, "num_key_value_heads", heads),
        "ffn": _whole(config, source, "intermediate_size"),
        "vocab": _whole(config, source, "vocab_size"),
        "tied_embeddings": _or(config, "tie_word_embeddings", False),
    }
    if _has(config, "head_dim") and not latent:
        fields["head_dim"] = config["head_dim"]
    return fields


def _sparse(config: Config, source: str) -> dict[str, Value]:
    count = _whole(config, source, "num_local_experts", "num_experts")
    ffn = _or(config, "moe_intermediate_size", _whole(config, source, "intermediate_size"))
    fields: dict[str, Value] = {
        "count": count,
        "topk": _whole(config, source, "num_experts_per_tok"),
        "ffn": ffn,
    }
    shared = config.get("shared_expert_intermediate_size")
    if isinstance(shared, int) and isinstance(ffn, int) and shared > 0 and ffn > 0:
        fields["shared"] = max(1, round(shared / ffn))
    return fields


def _deepseek(config: Config, source: str) -> dict[str, Value]:
    return {
        "count": _whole(config, source, "n_routed_experts"),
        "topk": _whole(config, source, "num_experts_per_tok"),
        "ffn": _whole(config, source, "moe_intermediate_size"),
        "shared": _or(config, "n_shared_experts", 0),
        "first_dense_layers": _or(config, "first_k_dense_replace", 0),
    }


def _latent(config: Config, source: str) -> dict[str, Value]:
    return {
        "query_rank": _or(config, "q_lora_rank", 0),
        "kv_rank": _whole(config, source, "kv_lora_rank"),
        "nope_dim": _whole(config, source, "qk_nope_head_dim"),
        "rope_dim": _or(config, "qk_rope_head_dim", 0),
        "value_dim": _whole(config, source, "v_head_dim"),
    }


def _gpt(config: Config, kind: str, source: str) -> dict[str, Value]:
    hidden = _whole(config, source, "n_embd", "hidden_size")
    heads = _whole(config, source, "n_head", "num_attention_heads")
    learned = kind in ("gpt2", "opt", "gpt_bigcode")
    places = _or(config, "n_positions", _or(config, "max_position_embeddings", 0))
    assert isinstance(hidden, int)
    tied = kind not in ("gpt_neox", "gptj")
    return {
        "layers": _whole(config, source, "n_layer", "num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": 1 if kind == "gpt_bigcode" and config.get("multi_query") else heads,
        "ffn": _or(config, "ffn_dim", _or(config, "n_inner", _inner(config, hidden))),
        "gated_mlp": False,
        "vocab": _whole(config, source, "vocab_size"),
        "tied_embeddings": _or(config, "tie_word_embeddings", tied),
        "biases": True,
        "positions": places if learned else 0,
    }


def _inner(config: Config, hidden: int) -> Value:
    return _or(config, "intermediate_size", 4 * hidden)


def _whole(config: Config, source: str, *names: str) -> Value:
    """The first of these that the file has; what it is worth is checked with the workload."""
    for name in names:
        if _has(config, name):
            value = config[name]
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
            raise InputError(name, value, "allowed: a whole number, 1 or more", source=source)
    raise InputError(names[0], NOTHING, "required of this architecture", source=source)


def _or(config: Config, name: str, default: Value) -> Value:
    return config[name] if _has(config, name) else default


def _has(config: Config, name: str) -> bool:
    return config.get(name) is not None

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
    "panguembedded", "gemma3_text", "glm4", "granite", "smollm3", "exaone4", "ernie4_5",
    "starcoder2", "phi", "nemotron", "hunyuan_v1_dense",
)  # fmt: skip
_PLAIN = ("starcoder2", "phi", "nemotron")  # of these, those without a gated feed-forward block
_SPARSE = (
    "mixtral", "qwen2_moe", "qwen3_moe", "phimoe", "olmoe", "gpt_oss", "glm4_moe", "pangupromoe",
    "dots1",
)  # fmt: skip
_LATENT = ("deepseek_v2", "deepseek_v3", "kimi_k2", "pangu_ultra_moe", "deepseek_v32")
_GPT = ("gpt2", "gpt_neox", "opt", "bloom", "gptj", "gpt_bigcode", "mpt", "falcon")
_ALSO = {
    "kv_lora_rank": "attention_kv_lora_dim",
    "q_lora_rank": "attention_q_lora_dim",
    "qk_nope_head_dim": "attention_qk_dim",
    "qk_rope_head_dim": "attention_qk_rope_dim",
    "v_head_dim": "attention_v_dim",
    "n_routed_experts": "num_routed_experts",
    "n_shared_experts": "num_shared_experts",
    "first_k_dense_replace": "num_dense_layers",
}
"""Names that Pangu Ultra MoE has for DeepSeek's values."""
_HALF = ("gemma2",)  # every other layer looks at a window only
ARCHITECTURES = (*_LLAMA, *_SPARSE, *_LATENT, *_GPT)


def from_config(config: Config, source: str) -> dict[str, Value]:
    """Fields of a workload (without batch and tokens). ``InputError`` names what is missing."""
    if isinstance(inner := config.get("text_config"), dict):
        config = inner  # a model that also sees: its language part
    given = config.get("model_type")
    kind = given.casefold() if isinstance(given, str) else given
    if kind not in ARCHITECTURES:
        near = nearest(str(given), ARCHITECTURES)
        allowed = f"unknown architecture{near}; allowed: {', '.join(ARCHITECTURES)}"
        got = NOTHING if given is None else given
        raise InputError("model_type", got, allowed, source=source)
    config = {**{new: config[old] for new, old in _ALSO.items() if old in config}, **config}
    if kind in _GPT:
        return _gpt(config, str(kind), source)
    fields = _llama(config, kind in _LATENT, source) | _window(config, str(kind))
    if kind in _PLAIN:
        fields["gated_mlp"] = False
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


def _window(config: Config, kind: str) -> dict[str, Value]:
    """Attention that looks back over a window only, in some of the layers or in all."""
    window, types = config.get("sliding_window"), config.get("layer_types")
    if not isinstance(window, int) or window < 1 or config.get("use_sliding_window") is False:
        return {}
    if isinstance(types, list) and types:
        share = sum(one == "sliding_attention" for one in types) / len(types)
    elif kind in _HALF:
        share = 0.5
    else:
        share = 1.0 if kind in ("mistral", "mixtral") else 0.0
    return {"window": window, "windowed": share} if share else {}


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
    hidden = _whole(config, source, "n_embd", "hidden_size", "d_model")
    heads = _whole(config, source, "n_head", "num_attention_heads", "n_heads")
    learned = kind in ("gpt2", "opt", "gpt_bigcode")
    places = _or(config, "n_positions", _or(config, "max_position_embeddings", 0))
    assert isinstance(hidden, int)
    tied = kind not in ("gpt_neox", "gptj")
    return {
        "layers": _whole(config, source, "n_layer", "num_hidden_layers", "n_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": _gpt_kv_heads(config, kind, heads),
        "ffn": _or(config, "ffn_dim", _or(config, "n_inner", _inner(config, hidden))),
        "gated_mlp": False,
        "vocab": _whole(config, source, "vocab_size"),
        "tied_embeddings": _or(config, "tie_word_embeddings", tied),
        "biases": kind not in ("mpt", "falcon"),
        "positions": places if learned else 0,
    }


def _inner(config: Config, hidden: int) -> Value:
    times = config.get("expansion_ratio", 4)
    return _or(config, "intermediate_size", hidden * (times if isinstance(times, int) else 4))


def _gpt_kv_heads(config: Config, kind: str, heads: Value) -> Value:
    """All, or one where keys and values are shared; Falcon's larger models have some."""
    if kind == "falcon" and config.get("new_decoder_architecture"):
        return _or(config, "num_kv_heads", heads)
    shared = kind in ("gpt_bigcode", "falcon") and config.get("multi_query")
    return 1 if shared else heads


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

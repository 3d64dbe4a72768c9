"""Models: by name, from YAML, from a ``config.json`` as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skep.errors import InputError
from skep.files.hfconfig import ARCHITECTURES
from skep.files.workload import load_model, named_models

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
MIXTRAL = LLAMA | {
    "model_type": "mixtral",
    "vocab_size": 32000,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
QWEN3_MOE = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "num_experts": 128,
    "num_experts_per_tok": 8,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "num_hidden_layers": 61,
    "vocab_size": 129280,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
GLM = {
    "model_type": "glm4_moe",
    "hidden_size": 5120,
    "intermediate_size": 12288,
    "moe_intermediate_size": 1536,
    "num_attention_heads": 96,
    "num_hidden_layers": 92,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151552,
    "n_routed_experts": 160,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
}
GPT_OSS = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_attention_heads": 64,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 201088,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 1600,
    "n_head": 25,
    "n_layer": 48,
    "n_positions": 1024,
    "vocab_size": 50257,
}
NEOX = {
    "model_type": "gpt_neox",
    "hidden_size": 6144,
    "intermediate_size": 24576,
    "num_attention_heads": 64,
    "num_hidden_layers": 44,
    "vocab_size": 50432,
    "max_position_embeddings": 2048,
}
OPT = {
    "model_type": "opt",
    "hidden_size": 12288,
    "ffn_dim": 49152,
    "num_attention_heads": 96,
    "num_hidden_layers": 96,
    "vocab_size": 50272,
    "max_position_embeddings": 2048,
}
PANGU = LLAMA | {
    "model_type": "PanguEmbedded",
    "intermediate_size": 12800,
    "num_hidden_layers": 34,
    "vocab_size": 153376,
}
PANGU_ULTRA_MOE = {
    "model_type": "pangu_ultra_moe",
    "hidden_size": 7680,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "num_hidden_layers": 61,
    "vocab_size": 153600,
    "num_routed_experts": 256,
    "num_shared_experts": 1,
    "num_experts_per_tok": 8,
    "num_dense_layers": 3,
    "attention_q_lora_dim": 1536,
    "attention_kv_lora_dim": 512,
    "attention_qk_dim": 128,
    "attention_qk_rope_dim": 64,
    "attention_v_dim": 128,
}
MPT = {
    "model_type": "mpt",
    "d_model": 4096,
    "n_heads": 32,
    "n_layers": 32,
    "expansion_ratio": 4,
    "vocab_size": 50432,
}
FALCON = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_attention_heads": 71,
    "num_hidden_layers": 32,
    "multi_query": True,
    "vocab_size": 65024,
}
QWEN2 = LLAMA | {
    "model_type": "qwen2",
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "vocab_size": 152064,
    "sliding_window": 131072,
    "use_sliding_window": False,
}


@pytest.mark.parametrize(
    ("config", "billions", "active"),
    [
        (LLAMA, 8.03, None),
        (MIXTRAL, 46.70, 12.9),
        (QWEN3_MOE, 30.53, 3.35),
        (DEEPSEEK, 671.0, 37.5),
        (GPT_OSS, 116.8, 5.7),
        (GLM, 352.8, 33.6),
        (GPT2, 1.558, None),
        (NEOX, 20.55, None),
        (OPT, 174.6, None),
        (PANGU, 8.03, None),
        (PANGU_ULTRA_MOE, 718.7, 40.4),
        (MPT, 6.65, None),
        (FALCON, 6.92, None),
        (QWEN2, 72.7, None),
        ({"model_type": "llava", "text_config": LLAMA}, 8.03, None),
    ],
    ids=lambda c: c.get("model_type", "") if isinstance(c, dict) else "",
)
def test_a_config_as_it_is(
    tmp_path: Path, config: dict[str, object], billions: float, active: float | None
) -> None:
    folder = tmp_path / "some-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    model = load_model(str(folder / "config.json"))
    assert model.workload.name == "some-model"
    assert model.workload.parameters / 1e9 == pytest.approx(billions, rel=0.001)
    if active:
        assert model.workload.active_parameters / 1e9 == pytest.approx(active, rel=0.005)
    assert any("batch" in word for word in model.assumed)


def test_windows_of_attention(tmp_path: Path) -> None:
    def read(**more: object):  # type: ignore[no-untyped-def]
        file = tmp_path / "config.json"
        file.write_text(json.dumps(LLAMA | {"sliding_window": 4096} | more))
        found = load_model(str(file)).workload
        return found.window, found.windowed

    assert read(model_type="mistral") == (4096, 1.0)
    assert read(model_type="gemma2") == (4096, 0.5)
    mixed = ["sliding_attention"] * 5 + ["full_attention"]
    assert read(model_type="gemma3_text", layer_types=mixed) == (4096, pytest.approx(5 / 6))
    assert read(model_type="qwen2", use_sliding_window=False) == (None, 1.0)
    assert read(model_type="llama", sliding_window=None) == (None, 1.0)


@pytest.mark.parametrize("name", named_models())
def test_named_models_have_their_published_parameters(name: str) -> None:
    entry, found = named_models()[name], load_model(name).workload
    assert entry.source
    assert found.parameters == pytest.approx(entry.parameters, rel=0.015)
    if entry.active:
        assert found.active_parameters == pytest.approx(entry.active, rel=0.04)


def test_other_names_and_changes() -> None:
    assert load_model("DeepSeek-R1").workload.latent is not None
    changed = load_model("llama-3-8b", {"seq_len": 2048, "global_batch": 64, "dtype": "fp8"})
    assert changed.workload.tokens_per_step == 2048 * 64
    assert changed.workload.dtype == "fp8"
    assert changed.assumed == ()


def test_a_yaml_file_over_a_base(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    file = tmp_path / "longer.yaml"
    file.write_text("base: llama-3-8b\nseq_len: 131072\nglobal_batch: 32\n")
    assert load_model(str(file)).workload.seq_len == 131072
    assert load_model(str(file)).workload.name == "longer"
    file.write_text("base: config.json\nglobal_batch: 32\ntokens: 1e12\n")
    assert load_model(str(file)).workload.tokens == 1e12


GOOD = "layers: 4\nhidden: 64\nheads: 4\nffn: 256\nvocab: 1000\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("m.yaml", GOOD + "layers_: 3\n", "layers_: "),
        ("m.yaml", GOOD.replace("4\nhidden", "-4\nhidden"), "layers: got -4; allowed: "),
        ("m.yaml", GOOD + "kv_heads: 3\n", "kv_heads: got 3; allowed: a divisor of the 4 heads"),
        ("m.yaml", GOOD + "hidden_size: 64\n", "called hidden"),
        ("m.yaml", GOOD + "moe: {count: 4, topk: 8, ffn: 32}\n", "moe.topk: got 8"),
        ("m.yaml", "base: lama-3-8b\n", "did you mean 'llama-3-8b'?"),
        ("m.yaml", GOOD.replace("ffn: 256\n", ""), "ffn: got nothing"),
        ("m.yaml", GOOD + "dtype: int3\n", "dtype: got 'int3'; allowed: "),
        ("c.json", '{"model_type": "mamba"}', "model_type: got 'mamba'; unknown architecture"),
        ("c.json", "{}", "model_type: got nothing; "),
        ("c.json", '{"model_type": "llama"}', "num_attention_heads: got nothing; required"),
        ("c.json", json.dumps(LLAMA | {"hidden_size": 0}), "hidden_size: got 0; allowed: "),
        ("c.json", "{", "c.json"),
    ],
)
def test_bad_models(tmp_path: Path, name: str, text: str, says: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(InputError) as told:
        load_model(str(file))
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match=r"did you mean 'llama-3-70b'\?"):
        load_model("llama-3-7b")
    assert "deepseek_v3" in ARCHITECTURES

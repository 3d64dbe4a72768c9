"""A workload: what is trained, independent of the chips that train it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from skep.model.base import Spec

Precision = Literal["bf16", "fp16", "fp8", "mxfp8", "nvfp4"]


class Experts(Spec):
    """The mixture-of-experts part: which layers have it and how large it is."""

    count: int = Field(ge=1, description="routed experts of one layer")
    topk: int = Field(ge=1, description="routed experts that one token visits")
    ffn: int = Field(ge=1, description="intermediate size of one expert")
    shared: int = Field(default=0, ge=0, description="experts that every token visits")
    first_dense_layers: int = Field(default=0, ge=0, description="leading layers without experts")

    @model_validator(mode="after")
    def _topk_within_count(self) -> Experts:
        if self.topk > self.count:
            raise ValueError(f"topk: {self.topk}; allowed: at most the {self.count} experts")
        return self


class Latent(Spec):
    """Ranks of multi-head latent attention (DeepSeek-V2, arXiv:2405.04434)."""

    query_rank: int = Field(default=0, ge=0, description="0: queries are not compressed")
    kv_rank: int = Field(ge=1)
    nope_dim: int = Field(ge=1, description="per head, without position")
    rope_dim: int = Field(ge=0, description="rotary part, shared by the heads for keys")
    value_dim: int = Field(ge=1, description="per head")


class Workload(Spec):
    """A decoder-only transformer and how it is trained. ``latent`` given means MLA, else GQA.

    ``ffn`` is the intermediate size of the layers without experts. ``tokens`` is the length of the
    whole training, ``None`` where only the step is asked for.
    """

    name: str = "model"
    layers: int = Field(ge=1)
    hidden: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1, description="= heads without grouping")
    head_dim: int = Field(ge=1)
    ffn: int = Field(ge=1)
    gated_mlp: bool = True
    vocab: int = Field(ge=1)
    tied_embeddings: bool = False
    biases: bool = Field(default=False, description="linear layers and norms carry biases (GPT-3)")
    positions: int = Field(default=0, ge=0, description="learned position embeddings")
    seq_len: int = Field(ge=1)
    global_batch: int = Field(ge=1, description="sequences of one optimizer step")
    dtype: Precision = "bf16"
    window: int | None = Field(default=None, ge=1, description="tokens of sliding attention")
    windowed: float = Field(default=1.0, ge=0, le=1, description="share of layers that slide")
    moe: Experts | None = None
    latent: Latent | None = None
    tokens: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> Workload:
        if self.heads % self.kv_heads:
            raise ValueError(
                f"kv_heads: {self.kv_heads}; allowed: a divisor of the {self.heads} heads"
            )
        if self.moe and self.moe.first_dense_layers > self.layers:
            raise ValueError(
                f"moe.first_dense_layers: {self.moe.first_dense_layers}; "
                f"allowed: at most the {self.layers} layers"
            )
        return self

    @property
    def attention(self) -> Literal["gqa", "mla"]:
        """``mla`` if the ranks of latent attention are given, else ``gqa``."""
        return "mla" if self.latent else "gqa"

    @property
    def moe_layers(self) -> int:
        """Layers that have experts."""
        return self.layers - self.moe.first_dense_layers if self.moe else 0

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.global_batch * self.seq_len

    @property
    def query_dim(self) -> int:
        """Size of one head's query and key, as the scores see it."""
        return self.latent.nope_dim + self.latent.rope_dim if self.latent else self.head_dim

    @property
    def value_dim(self) -> int:
        """Size of one head's value."""
        return self.latent.value_dim if self.latent else self.head_dim

    @property
    def attention_parameters(self) -> int:
        """Weights of the projections of one attention block, without biases and norms.

        GQA: h a d + 2 h k d + a d h. MLA: the down- and up-projections of queries and of keys with
        values, and the output projection.
        """
        h, a = self.hidden, self.heads
        if not self.latent:
            return h * self.head_dim * (2 * a + 2 * self.kv_heads)
        m, q = self.latent, self.query_dim
        query = h * m.query_rank + m.query_rank * a * q if m.query_rank else h * a * q
        keys = h * (m.kv_rank + m.rope_dim) + m.kv_rank * a * (m.nope_dim + m.value_dim)
        return query + keys + a * m.value_dim * h

    @property
    def matrices(self) -> int:
        """Matrices of one feed-forward block: 3 with a gate, else 2."""
        return 3 if self.gated_mlp else 2

    @property
    def expert_parameters(self) -> int:
        """Weights of one expert; 0 without experts."""
        return self.matrices * self.hidden * self.moe.ffn if self.moe else 0

    @property
    def embedding_parameters(self) -> int:
        """Token embeddings, output projection (once if tied), learned positions."""
        return (1 if self.tied_embeddings else 2) * self.vocab * self.hidden + (
            self.positions * self.hidden
        )

    @property
    def parameters(self) -> int:
        """All parameters, exactly."""
        return self._parameters(self.moe.count if self.moe else 0)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets: top-k instead of all routed experts."""
        return self._parameters(self.moe.topk if self.moe else 0)

    def _parameters(self, routed: int) -> int:
        dense = self.layers - self.moe_layers
        total = self.layers * (self.attention_parameters + self._small_parameters())
        total += dense * (self.matrices * self.hidden * self.ffn + self._ffn_biases())
        if self.moe:
            experts = (routed + self.moe.shared) * self.expert_parameters
            total += self.moe_layers * (experts + self.hidden * self.moe.count)
        return total + self.embedding_parameters + self.hidden * (2 if self.biases else 1)

    def _small_parameters(self) -> int:
        """Norms of one layer, and the biases of its attention."""
        if self.latent:
            return 2 * self.hidden + self.latent.query_rank + self.latent.kv_rank
        if not self.biases:
            return 2 * self.hidden
        return 4 * self.hidden + self.head_dim * (self.heads + 2 * self.kv_heads) + self.hidden

    def _ffn_biases(self) -> int:
        return (self.matrices - 1) * self.ffn + self.hidden if self.biases else 0

    def flops_per_token(self, causal: bool = True) -> float:
        """Model FLOPs of one trained token, forward and backward, recomputation not counted.

        6 x (active weights that are multiplied: no input embedding, no norms) + the scores and
        their product with the values, 6 L a s (d_qk + d_v), halved if ``causal`` (one convention
        for all models; PaLM App. B counts them whole).
        """
        layers = self.layers * self.attention_parameters
        layers += (self.layers - self.moe_layers) * self.matrices * self.hidden * self.ffn
        if self.moe:
            layers += self.moe_layers * (
                (self.moe.topk + self.moe.shared) * self.expert_parameters
                + self.hidden * self.moe.count
            )
        scores = self.layers * self.heads * self.context * (self.query_dim + self.value_dim)
        return 6.0 * (layers + self.vocab * self.hidden) + (3.0 if causal else 6.0) * scores

    @property
    def context(self) -> float:
        """Tokens that a token's scores span, on average over layers, if all saw all (not causal).

        A sliding window w in a sequence s spans w (2 - w / s): causal, it is w s - w^2 / 2 of the
        s^2 / 2 pairs.
        """
        if self.window is None or self.window >= self.seq_len:
            return float(self.seq_len)
        slid = self.window * (2.0 - self.window / self.seq_len)
        return self.windowed * slid + (1.0 - self.windowed) * self.seq_len

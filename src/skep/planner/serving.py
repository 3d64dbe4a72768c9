"""Serving: how fast a model answers, by batch and context, on one instance of some chips.

An instance holds the weights once, spread over its chips. Prefill reads the prompt, decode writes
one token a step for each sequence of the batch. Formulas, sources and the measured error are in
``docs/models/serving.md``. Pure arithmetic: seconds, bytes, tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.servingconstants import SHARED, Kernels, Status, kernels

BITS = {
    "fp4": 4.5,
    "nvfp4": 4.5,
    "mxfp4": 4.25,
    "fp8": 8.0,
    "int8": 8.0,
    "bf16": 16.0,
    "fp16": 16.0,
}
"""Bits that one weight takes, scales of small blocks included."""
RATE = {"nvfp4": "fp4", "mxfp4": "fp4"}
WIDER = {
    "fp4": ("fp4", "fp8", "bf16"),
    "fp8": ("fp8", "int8", "bf16"),
    "int8": ("int8", "fp8", "bf16"),
}


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance: ``chips`` of a kind hold ``model`` in ``precision``.

    ``spread``: experts (and requests) are spread over all chips, attention runs on each for its own
    requests; else every matrix is split over all chips (tensor parallel). ``guesses`` tokens are
    tried beyond the next one each decode step, of which the share ``accepted`` holds.
    """

    model: Workload
    chip: Chip
    chips: int
    precision: str = "fp8"
    cache_bits: float = 8.0
    spread: bool = False
    guesses: int = 0
    accepted: float = 0.7

    @property
    def constants(self) -> Kernels:
        """What kernels of this chip reach."""
        return kernels(self.chip, self.rate_format)

    @property
    def rate_format(self) -> str:
        """The number format that products run in: the weights' or the next wider one it has."""
        for name in WIDER.get(self.precision, (self.precision,)):
            if self.chip.peak(name) is not None:
                return name
        return "bf16"

    @property
    def weights(self) -> float:
        """Bytes of all weights; embeddings stay in 16 bits."""
        m = self.model
        return (m.parameters - m.embedding_parameters) * BITS[self.precision] / 8 + (
            2.0 * m.embedding_parameters
        )

    @property
    def status(self) -> Status:
        """How far the constants of this chip and format are measured."""
        return self.constants.status

    @property
    def resident(self) -> float:
        """Bytes of weights on all chips together: what is not experts is on each if spread."""
        if not self.spread:
            return self.weights
        return self._experts() + (self.weights - self._experts()) * self.chips

    @property
    def room(self) -> float:
        """Bytes left for the cache on all chips; negative where the weights do not fit."""
        memory = (self.chip.memory or 0.0) * self.chips * SHARED.usable
        return memory - self.resident

    def cache(self, context: float) -> float:
        """Bytes that the cache of one sequence of ``context`` tokens takes (GQA or MLA)."""
        m = self.model
        values = m.latent.kv_rank + m.latent.rope_dim if m.latent else 2 * m.kv_heads * m.head_dim
        return m.layers * values * context * self.cache_bits / 8

    def most(self, context: float) -> int:
        """Sequences of ``context`` tokens that fit at once; 0 where the weights do not fit."""
        return max(0, int(self.room / self.cache(context))) if self.room > 0 else 0

    def _experts(self) -> float:
        m = self.model
        if not m.moe:
            return 0.0
        return m.moe_layers * m.moe.count * m.expert_parameters * BITS[self.precision] / 8

    def prefill(self, tokens: float, prompt: float) -> float:
        """s to read ``tokens`` tokens at once, of prompts of ``prompt`` tokens each."""
        products = self._products(tokens)
        scores = 2.0 * tokens * (prompt / 2) * self._score_width(absorbed=False)
        attention = scores / (self.chips * self._peak("bf16") * SHARED.attention)
        return products + attention + self._exchange(tokens) + self._launches()

    def decode(self, batch: float, context: float) -> float:
        """s of one step for ``batch`` sequences that have ``context`` tokens each."""
        tokens = batch * (1 + self.guesses)
        read = batch * self.cache(context) / self._read_rate()
        scores = 2.0 * tokens * context * self._score_width(absorbed=True)
        attention = max(read, scores / (self.chips * self._peak("bf16") * SHARED.attention))
        return self._products(tokens) + attention + self._exchange(tokens) + self._launches()

    def tokens_per_step(self) -> float:
        """Tokens that one decode step adds to a sequence: 1 and the guesses that held."""
        return 1.0 + self.guesses * self.accepted

    def _products(self, tokens: float) -> float:
        """s of the matrix products: the slower of computing them and of reading the weights.

        A product of few rows is slow: rows / (rows + half) of its best, where half grows with what
        the chip computes per byte that it reads; an expert sees only its own tokens.
        """
        m, k = self.model, self.constants
        rate = self.chips * self._peak(self.rate_format) * k.products
        rows = max(tokens / self.chips if self.spread else tokens, 1.0)
        routed = m.moe_layers * m.moe.topk * m.expert_parameters if m.moe else 0
        plain = m.active_parameters - m.embedding_parameters + m.vocab * m.hidden - routed
        ridge = self._peak(self.rate_format) / self._bandwidth()
        work = plain * (1.0 + SHARED.half_rows * ridge / rows)
        if m.moe:
            per_expert = max(tokens * m.moe.topk / m.moe.count, 1.0)
            work += routed * (1.0 + SHARED.expert_half_rows * ridge / per_expert)
        return max(2.0 * tokens * work / rate, self._touched(tokens) / self._read_rate())

    def _read_rate(self) -> float:
        return self.chips * self._bandwidth()

    def _touched(self, tokens: float) -> float:
        """Bytes of weights that ``tokens`` tokens meet, on all chips."""
        moe = self.model.moe
        if not moe:
            return self.resident
        missed = float((1.0 - moe.topk / moe.count) ** tokens)
        return self.resident - self._experts() * missed

    def _score_width(self, *, absorbed: bool) -> float:
        """Multiplications per pair of tokens, over all layers: of scores and of values."""
        m = self.model
        if m.latent and absorbed:  # the cache is read in its compressed form
            width = 2 * m.latent.kv_rank + m.latent.rope_dim
        else:
            width = m.query_dim + m.value_dim
        return float(m.layers * m.heads * width)

    def _exchange(self, tokens: float) -> float:
        """s of traffic between the chips of the instance."""
        if self.chips == 1:
            return 0.0
        return self._spread_exchange(tokens) if self.spread else self._split_exchange(tokens)

    def _split_exchange(self, tokens: float) -> float:
        """Two all-reduces a layer: 2 (n-1)/n x bytes each, at the block's speed."""
        m, n = self.model, self.chips
        sent = 2.0 * (n - 1) / n * tokens * m.hidden * 2.0
        once = sent / self._link() + SHARED.latency * (1 + log2(n))
        return 2.0 * m.layers * once

    def _spread_exchange(self, tokens: float) -> float:
        """Dispatch in 8 bits and combine in 16 of each token, to at most ``groups`` blocks."""
        m = self.model
        if not m.moe:
            return 0.0
        block = self.chip.scale_up_size or 1
        blocks = -(-self.chips // block)
        copies = float(m.moe.topk)
        if blocks > 1:  # a token goes once to each block that has experts for it
            copies = min(copies, SHARED.groups, blocks)
        bytes_each = tokens / self.chips * m.hidden * 3.0 * copies
        once = bytes_each / self._link() + 2.0 * SHARED.latency * (1 + log2(self.chips))
        return m.moe_layers * once

    def _link(self) -> float:
        """Bytes/s of one chip to the others of its instance."""
        up = (self.chip.scale_up_bandwidth or 0.0) * SHARED.links
        out = (self.chip.nic or 0.0) / 8 * SHARED.links
        inside = self.chips <= (self.chip.scale_up_size or 1)
        return max(up if inside else out, 1e9)

    def _launches(self) -> float:
        return SHARED.step + self.model.layers * SHARED.layer

    def _bandwidth(self) -> float:
        return (self.chip.memory_bandwidth or 0.0) * SHARED.memory

    def _peak(self, number_format: str) -> float:
        return self.chip.peak(number_format) or self.chip.fp8_flops or 1.0

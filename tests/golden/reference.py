"""An independent PyTorch reference of the Llama family: full attention, one sequence, f64 unless told otherwise.

Written to be read: every formula stands once, nothing is fused. Weights carry their Hugging Face names.
"""
import dataclasses

import numpy as np
import torch
import torch.nn.functional as F

torch.set_grad_enabled(False)


@dataclasses.dataclass
class Config:
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    norm_eps: float
    inv_freq: np.ndarray  # [head_dim / 2], scaling applied
    attention_factor: float = 1.0  # YaRN; multiplies cosines and sines


class Reference:
    def __init__(self, config, weights, dtype=torch.float64):
        self.config = config
        self.dtype = dtype
        self.weights = {name: torch.as_tensor(w).to(dtype) for name, w in weights.items()}
        self.reset()

    def reset(self):
        shape = (self.config.n_layers, self.config.n_kv_heads, 0, self.config.head_dim)
        self.keys = list(torch.empty(shape, dtype=self.dtype))
        self.values = list(torch.empty(shape, dtype=self.dtype))
        self.length = 0

    def _weight(self, layer, name):
        return self.weights[f"model.layers.{layer}.{name}.weight"]

    def _norm(self, x, weight):
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + self.config.norm_eps) * weight

    def _heads(self, x, layer, name, n_heads):
        """Projects x [n, hidden] to [n_heads, n, head_dim], with bias and head norm where the model has them."""
        y = x @ self._weight(layer, f"self_attn.{name}_proj").T
        bias = self.weights.get(f"model.layers.{layer}.self_attn.{name}_proj.bias")
        if bias is not None:
            y = y + bias
        y = y.reshape(x.shape[0], n_heads, self.config.head_dim).transpose(0, 1)
        head_norm = self.weights.get(f"model.layers.{layer}.self_attn.{name}_norm.weight")
        return y if head_norm is None else self._norm(y, head_norm)

    def _rotate(self, x, positions):
        """Rotary embedding of x [heads, n, head_dim] at `positions` [n]."""
        angle = np.outer(positions, self.config.inv_freq)
        cos = torch.from_numpy(np.cos(angle) * self.config.attention_factor).to(self.dtype)
        sin = torch.from_numpy(np.sin(angle) * self.config.attention_factor).to(self.dtype)
        low, high = x.chunk(2, -1)
        return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)

    def _attention(self, x, layer):
        c = self.config
        n, past = x.shape[0], self.length
        positions = np.arange(past, past + n)
        q = self._rotate(self._heads(x, layer, "q", c.n_heads), positions)
        k = self._rotate(self._heads(x, layer, "k", c.n_kv_heads), positions)
        v = self._heads(x, layer, "v", c.n_kv_heads)
        self.keys[layer] = torch.cat([self.keys[layer], k], 1)
        self.values[layer] = torch.cat([self.values[layer], v], 1)
        group = c.n_heads // c.n_kv_heads
        q = q.reshape(c.n_kv_heads, group, n, c.head_dim)
        scores = torch.einsum("kgqd,ktd->kgqt", q, self.keys[layer]) / np.sqrt(c.head_dim)
        visible = torch.arange(past + n)[None, :] <= torch.arange(past, past + n)[:, None]
        scores = torch.where(visible, scores, float("-inf"))
        out = torch.einsum("kgqt,ktd->qkgd", torch.softmax(scores, -1), self.values[layer])
        return out.reshape(n, -1) @ self._weight(layer, "self_attn.o_proj").T

    def _feed_forward(self, x, layer):
        gate = x @ self._weight(layer, "mlp.gate_proj").T
        up = x @ self._weight(layer, "mlp.up_proj").T
        return (F.silu(gate) * up) @ self._weight(layer, "mlp.down_proj").T

    def _chunk(self, ids):
        x = self.weights["model.embed_tokens.weight"][torch.as_tensor(ids, dtype=torch.long)]
        for layer in range(self.config.n_layers):
            x = x + self._attention(self._norm(x, self._weight(layer, "input_layernorm")), layer)
            h = self._norm(x, self._weight(layer, "post_attention_layernorm"))
            x = x + self._feed_forward(h, layer)
        self.length += len(ids)
        return self._norm(x, self.weights["model.norm.weight"])

    def append(self, ids, all_logits=False, chunk=512):
        """Appends tokens; logits [vocabulary] of the last one, or [n, vocabulary] of all."""
        parts = [self._chunk(ids[i : i + chunk]) for i in range(0, len(ids), chunk)]
        x = torch.cat(parts) if all_logits else parts[-1][-1]
        output = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        return x @ output.T

"""An independent PyTorch reference of selective attention: whole keys vote for the rows, far rows stand at fixed distances.

Sources: ESA (arXiv 2502.14477), the soft vote of TokenSelect (arXiv 2411.02886). Like `reference.py`, written to be read:
every formula stands once.
"""
import dataclasses

import numpy as np
import torch

from reference import Reference


@dataclasses.dataclass(frozen=True)
class Distances:
    """From a query to every selected and to every initial row; the bias is added to the logits of selected rows. `local`
    and `budget` bound the local and the selected rows once more than the settings' own local rows precede the chunk."""

    selected: int
    initial: int
    far_bias: float = 0.0
    local: int = 1 << 30
    budget: int = 1 << 30


@dataclasses.dataclass(frozen=True)
class Settings:
    before: Distances  # of queries before the last `tail` tokens of the prompt
    tail_and_decode: Distances
    policy: str = "vote"  # or "sink_recent": nothing of the middle; "full": all of it
    rectified: bool = True  # False: every row at its true position
    initial: int = 8
    local: int = 64
    selected: int = 16
    chunk: int = 32
    proximity: int = 3
    probes: int = 4
    query_distance: int = 24  # queries are turned to this distance before they vote
    tail: int = 24


class SelectiveReference(Reference):
    """Keeps keys un-rotated. `chosen` has for each step that scored {layer: rows}; `margin` is the smallest gap, relative
    to the last chosen row's score, that any selection left between it and the next other score."""

    def __init__(self, config, weights, settings, dtype=torch.float64):
        self.settings = settings
        super().__init__(config, weights, dtype)

    def reset(self):
        super().reset()
        self.prompt_len = 0
        self.chosen = []
        self.margin = float("inf")

    def prefill(self, prompt):
        """-> logits [n, vocabulary]"""
        self.prompt_len = len(prompt)
        return self.append(prompt, all_logits=True, chunk=self.settings.chunk)

    def _chunk(self, ids):
        self.chosen.append({})
        x = super()._chunk(ids)
        if not self.chosen[-1]:
            self.chosen.pop()
        return x

    def _grouped(self, q):
        """[n_heads, n, head_dim] -> [n_kv_heads, group, n, head_dim]"""
        return q.unflatten(0, (self.config.n_kv_heads, -1))

    def _vote(self, q, keys):
        """Queries and keys [heads, n, head_dim], un-rotated -> a score for each key.

        Each of at most `probes` means of equally many queries gives every head one vote to spread over the keys; a key's
        score is what it gets of its best probe."""
        span = -(-q.shape[1] // self.settings.probes)
        probes = torch.stack([part.mean(1) for part in q.split(span, 1)], 1)
        probes = self._rotate(probes, [self.settings.query_distance]) * self.config.attention_factor
        logits = torch.einsum("kgpd,ktd->kgpt", self._grouped(probes), keys) / np.sqrt(self.config.head_dim)
        return torch.softmax(logits, -1).sum((0, 1)).amax(0).to(torch.float32)  # equal keys: equal scores

    def _top_rows(self, scores, budget):
        """Indices of the `budget` best, ascending, after each score spread to its neighbours; ties to the smaller."""
        eps, n = self.settings.proximity, len(scores)
        pooled = np.array([scores[max(0, j - eps) : j + eps + 1].max() for j in range(n)])
        rows = sorted(range(n), key=lambda j: (-pooled[j], j))[:budget]
        last = pooled[rows].min()
        self.margin = min(self.margin, np.abs(pooled[pooled != last] - last).min(initial=np.inf) / last)
        return np.array(sorted(rows))

    def _select(self, layer, q, middle, budget):
        """The rows of `middle` that queries q attend to: at most `budget`."""
        s = self.settings
        if s.policy == "sink_recent":
            return middle[:0]
        if s.policy == "full" or len(middle) <= budget:
            return middle
        rows = middle[self._top_rows(self._vote(q, self.keys[layer][:, middle]).numpy(), budget)]
        self.chosen[-1][layer] = rows
        return rows

    def _logits(self, q, keys):
        """[n_heads, n, head_dim] and [n_kv_heads, t, head_dim] -> [n_kv_heads, group, n, t]"""
        return torch.einsum("kgqd,ktd->kgqt", self._grouped(q), keys) / np.sqrt(self.config.head_dim)

    def _far_logits(self, q, keys, distance):
        """Un-rotated keys lack YaRN's attention factor, so that the query carries it twice."""
        return self._logits(self._rotate(q, distance) * self.config.attention_factor, keys)

    def _rectified(self, layer, q, initial, selected, near):
        s, keys, positions = self.settings, self.keys[layer], np.arange(self.length, self.length + q.shape[1])
        in_tail = positions >= self.prompt_len - s.tail
        of_query = lambda name: np.where(in_tail, getattr(s.tail_and_decode, name), getattr(s.before, name))
        bias = torch.as_tensor(of_query("far_bias"), dtype=self.dtype)[:, None]
        return [
            self._far_logits(q, keys[:, initial], of_query("initial")),
            self._far_logits(q, keys[:, selected], of_query("selected")) + bias,
            self._logits(self._rotate(q, positions), self._rotate(keys[:, near], near)),
        ]

    def _native(self, layer, q, *parts):
        q = self._rotate(q, np.arange(self.length, self.length + q.shape[1]))
        return [self._logits(q, self._rotate(self.keys[layer][:, rows], rows)) for rows in parts]

    def _sizes(self, past, end):
        """-> (local rows, selected rows), each at most"""
        s = self.settings
        if past <= s.local or not s.rectified:
            return s.local, s.selected
        distances = s.tail_and_decode if end > self.prompt_len - s.tail else s.before
        return min(s.local, distances.local), min(s.selected, distances.budget)

    def _attention(self, x, layer):
        c, s = self.config, self.settings
        n, past = x.shape[0], self.length
        q = self._heads(x, layer, "q", c.n_heads)
        self.keys[layer] = torch.cat([self.keys[layer], self._heads(x, layer, "k", c.n_kv_heads)], 1)
        self.values[layer] = torch.cat([self.values[layer], self._heads(x, layer, "v", c.n_kv_heads)], 1)

        n_local, budget = self._sizes(past, past + n)
        local_begin = max(0, past - n_local)
        initial = np.arange(min(s.initial, local_begin))
        selected = self._select(layer, q, np.arange(len(initial), local_begin), budget)
        near = np.arange(local_begin, past + n)  # the local part and the chunk
        positions = self._rectified if s.rectified else self._native
        parts = positions(layer, q, initial, selected, near)
        hidden = torch.as_tensor(near[None, :] > np.arange(past, past + n)[:, None])
        parts[2] = parts[2].masked_fill(hidden, float("-inf"))

        rows = np.concatenate([initial, selected, near])
        attention = torch.softmax(torch.cat(parts, -1), -1)
        out = torch.einsum("kgqt,ktd->qkgd", attention, self.values[layer][:, rows])
        return out.reshape(n, -1) @ self._weight(layer, "self_attn.o_proj").T

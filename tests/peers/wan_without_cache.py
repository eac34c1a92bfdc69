"""The causal Wan network by its formulas: attention over the whole history at once, no cache, no flashdreams.

Reads the tensors of a checkpoint by the original Wan names. A chunk attends to the sink, to the window before it and to
itself; its keys and queries are turned by their place among what it sees. Every chunk has a noise level and a text of
its own.
"""

import math

import torch
from torch.nn import functional as F


def angles(width, frames, rows, columns):
    """(frames * rows * columns, width / 2): one angle a pair, for time, row and column in turn."""
    space = width // 6 * 2
    parts = []
    for axis, size in enumerate((width - 2 * space, space, space)):
        rate = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        grid = torch.meshgrid(*(torch.arange(n) for n in (frames, rows, columns)), indexing="ij")[axis]
        parts.append(grid.reshape(-1, 1).double() * rate)
    return torch.cat(parts, -1)


def turn(x, angle):
    """x (tokens, heads, width) as complex pairs, times e^(i angle)."""
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)[:, None]).flatten(-2).to(x.dtype)


def attention(q, k, v):
    """(tokens, heads, width) each."""
    scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)


class WithoutCache:
    def __init__(self, weights, config, rows, columns):
        self.w, self.c, self.rows, self.columns = weights, config, rows // 2, columns // 2

    def linear(self, name, x):
        return F.linear(x, self.w[f"{name}.weight"].flatten(1), self.w[f"{name}.bias"])

    def norm(self, x):
        return F.layer_norm(x, x.shape[-1:], eps=1e-6)

    def heads(self, name, x, normed=None):
        x = self.linear(name, x)
        if normed:
            x = F.rms_norm(x, x.shape[-1:], self.w[f"{normed}.weight"], 1e-6)
        return x.unflatten(-1, (self.c.heads, -1))

    def visible(self, i):
        """Chunks that chunk i sees, oldest first."""
        sink, window = self.c.sink // self.c.frames, self.c.window // self.c.frames
        return [j for j in range(i + 1) if j < sink or j > i - window]

    def flow(self, chunks, noise, texts):
        """The last chunk's flow. chunks: [(frames, channels, rows, columns)], oldest first; noise: [level of 1000];
        texts: [(text, text_dim)]."""
        c, n = self.c, len(chunks)
        x = []
        for chunk in chunks:
            f, ch, h, w = chunk.shape
            patches = chunk.reshape(f, ch, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, ch * 4)
            x.append(self.linear("patch_embedding", patches))
        time, shifts = [], []
        for level in noise:
            rate = 10000.0 ** (-torch.arange(c.freq_dim // 2, dtype=torch.float64) / (c.freq_dim // 2))
            wave = torch.cat([(level * rate).cos(), (level * rate).sin()]).float()
            e = self.linear("time_embedding.2", F.silu(self.linear("time_embedding.0", wave)))
            time.append(e)
            shifts.append(self.linear("time_projection.1", F.silu(e)).unflatten(-1, (6, -1)))
        said = [
            self.linear("text_embedding.2", F.gelu(self.linear("text_embedding.0", t), approximate="tanh"))
            for t in texts
        ]
        for b in range(c.layers):
            at = f"blocks.{b}"
            m = [(self.w[f"{at}.modulation"][0] + s) for s in shifts]
            y = [self.norm(x[i]) * (1 + m[i][1]) + m[i][0] for i in range(n)]
            q = [self.heads(f"{at}.self_attn.q", v, f"{at}.self_attn.norm_q") for v in y]
            k = [self.heads(f"{at}.self_attn.k", v, f"{at}.self_attn.norm_k") for v in y]
            v = [self.heads(f"{at}.self_attn.v", v) for v in y]
            for i in range(n):
                seen = self.visible(i)
                angle = angles(c.dim // c.heads, c.frames * len(seen), self.rows, self.columns)
                keys = turn(torch.cat([k[j] for j in seen]), angle)
                queries = turn(q[i], angle[-len(q[i]) :])
                out = attention(queries, keys, torch.cat([v[j] for j in seen])).flatten(1)
                x[i] = x[i] + self.linear(f"{at}.self_attn.o", out) * m[i][2]
                z = F.layer_norm(x[i], x[i].shape[-1:], self.w[f"{at}.norm3.weight"], self.w[f"{at}.norm3.bias"], 1e-6)
                queries = self.heads(f"{at}.cross_attn.q", z, f"{at}.cross_attn.norm_q")
                keys = self.heads(f"{at}.cross_attn.k", said[i], f"{at}.cross_attn.norm_k")
                out = attention(queries, keys, self.heads(f"{at}.cross_attn.v", said[i])).flatten(1)
                x[i] = x[i] + self.linear(f"{at}.cross_attn.o", out)
                z = self.norm(x[i]) * (1 + m[i][4]) + m[i][3]
                z = self.linear(f"{at}.ffn.2", F.gelu(self.linear(f"{at}.ffn.0", z), approximate="tanh"))
                x[i] = x[i] + z * m[i][5]
        shift, scale = self.w["head.modulation"][0] + time[-1]
        out = self.linear("head.head", self.norm(x[-1]) * (1 + scale) + shift)
        f, ch, h, w = chunks[-1].shape
        return out.reshape(f, h // 2, w // 2, 2, 2, ch).permute(0, 5, 1, 3, 2, 4).reshape(f, ch, h, w)

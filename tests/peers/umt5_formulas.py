"""UMT5's encoder by its formulas, on tensors by Wan's own names: relative positions of each layer's own, no scale in
its attention, and a GELU gate in its feed-forward layers (Raffel et al., 2020; Shazeer, 2020; Chung et al., 2023)."""

import math

import torch
from torch.nn import functional as F

NEAR, FAR = 8, 128  # distances that have buckets of their own, and the largest that is told from others


def norm(x, weight):
    return weight * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def bucket(distance, buckets=32):
    """Half of them for each direction; near ones exact, far ones by their logarithm."""
    half = buckets // 2
    near, behind = abs(distance), half if distance > 0 else 0
    if near < half // 2:
        return behind + near
    exact = half // 2
    return behind + min(exact + int(math.log(near / exact) / math.log(FAR / exact) * (half - exact)), half - 1)


def encode(weights, ids):
    """(n, width) of n pieces."""
    weights = {name: tensor.float() for name, tensor in weights.items()}
    x, n = weights["token_embedding.weight"][ids], len(ids)
    where = torch.tensor([[bucket(key - query) for key in range(n)] for query in range(n)])
    for i in range(sum(name.endswith("norm1.weight") for name in weights)):
        w = {name.removeprefix(f"blocks.{i}."): t for name, t in weights.items() if name.startswith(f"blocks.{i}.")}
        bias = w["pos_embedding.embedding.weight"][where].permute(2, 0, 1)
        y = norm(x, w["norm1.weight"])
        q, k, v = ((y @ w[f"attn.{name}.weight"].T).view(n, len(bias), -1).transpose(0, 1) for name in "qkv")
        seen = (q @ k.transpose(1, 2) + bias).softmax(-1) @ v
        x = x + seen.transpose(0, 1).reshape(n, -1) @ w["attn.o.weight"].T
        y = norm(x, w["norm2.weight"])
        gate = F.gelu(y @ w["ffn.gate.0.weight"].T, approximate="tanh")
        x = x + (gate * (y @ w["ffn.fc1.weight"].T)) @ w["ffn.fc2.weight"].T
    return norm(x, weights["norm.weight"])

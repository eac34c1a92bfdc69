"""The causal Wan 2.1 rollout: latents chunk by chunk, without an end, in constant memory.

As in Self-Forcing (Huang et al., 2025) a chunk of latent frames is denoised in one to four steps while its
network sees the chunks before it through a key-value cache; one more pass over the finished chunk, at noise level 0,
puts it into the cache. The cache keeps the first frames (the sink) and a rolling window, as in LongLive (Yang et al.,
2025). Keys are kept unrotated and turned by their place in the cache when they are read, so that positions stay within
the trained range however long the rollout. For the same reason the window can be changed while it rolls: what stays in
the cache is moved to its new place, and every width uses the front of the same memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...spec import Array
from .kernels import Compiler, compile_in_place, fit_flashdreams

TRAINED_NOISE_LEVELS = (1000, 750, 500, 250)  # noise levels that the checkpoints were distilled at, of 1000
RECOMPILE_LIMIT = 64  # of torch, for one function
TEXT_ROWS = 512  # text tokens that the network attends to, zeros included: it was trained so


@dataclass(frozen=True)
class WanConfig:
    """Sizes of the network (default: Wan 2.1 1.3B) and how it rolls. Frames are latent frames."""

    dim: int = 1536
    ffn: int = 8960
    heads: int = 12
    layers: int = 30
    freq_dim: int = 256
    text_dim: int = 4096
    text: int = TEXT_ROWS
    channels: int = 16
    frames: int = 3  # of a chunk
    window: int = 21  # that roll, the chunk being drawn among them
    sink: int = 0  # that stay
    shift: float = 5.0  # of the noise schedule

    def __post_init__(self) -> None:
        for name in ("window", "sink"):
            if getattr(self, name) % self.frames:
                raise ValueError(f"{name} {getattr(self, name)} is not a whole number of chunks of {self.frames}")
        if self.window < 2 * self.frames:
            raise ValueError(f"a window of {self.window} frames leaves no room for a past: at least {2 * self.frames}")

    @property
    def sink_chunks(self) -> int:
        return self.sink // self.frames

    @property
    def chunks(self) -> int:
        """That the cache holds, sink and the present one included."""
        return (self.sink + self.window) // self.frames


def windows(config: WanConfig) -> tuple[int, ...]:
    """Windows that a rollout can use, its own first, then about two thirds and a half of it, in whole chunks and at
    least two. Most of the time goes to attention, whose cost grows with the window."""
    least, frames = 2 * config.frames, config.frames
    widths = (max(round(config.window * share / frames) * frames, least) for share in (1, 2 / 3, 3 / 7))
    return tuple(dict.fromkeys(widths))


def ladder(widths: int) -> tuple[tuple[int, int], ...]:
    """(steps, index of a window), the order in which a world with so many windows gives up quality. A shorter memory
    costs the picture less than fewer steps than the network was distilled at do; so windows go first, and steps only
    together with them."""
    most = len(TRAINED_NOISE_LEVELS)
    windows = [(max(most - max(level - 1, 0) - i, 1), level) for level in range(1, widths) for i in (0, 1)]
    last = windows[-1][0] if windows else most
    return ((most, 0), *windows, *((steps, widths - 1) for steps in range(last - 1, 0, -1)))


def levels(steps: int) -> tuple[int, ...]:
    """The trained noise levels that so many steps use, spread evenly: 1..4, more or fewer are clamped."""
    steps = min(max(steps, 1), len(TRAINED_NOISE_LEVELS))
    return tuple(TRAINED_NOISE_LEVELS[round(i * len(TRAINED_NOISE_LEVELS) / steps)] for i in range(steps))


def noise_share(level: float, shift: float) -> float:
    """0..1: how much of a latent is noise at a level of 1000, on the shifted flow-matching schedule (SD3, eq. 23)."""
    u = level / 1000
    return shift * u / (1 + (shift - 1) * u)


def network_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """A generator's tensors by the names of the original Wan network.

    Takes the checkpoints as published: a dictionary under "generator_ema" or "generator", names behind "model.",
    "net." or "_fsdp_wrapped_module.", or the bare tensors.
    """
    inner: Mapping[str, Any] = checkpoint.get("generator_ema", checkpoint.get("generator", checkpoint))
    tensors = {}
    for name, value in inner.items():
        for prefix in ("model.", "net.", "_fsdp_wrapped_module."):
            name = name.removeprefix(prefix)
        tensors[name] = value
    return tensors


def merge_lora(weights: dict[str, Tensor], lora: Mapping[str, Any], scale: float = 1.0) -> dict[str, Tensor]:
    """Weights with a low-rank adapter (PEFT's names) added: W + scale B A, scale being alpha / rank.

    Raises ValueError if the adapter changes a layer that the weights do not have.
    """
    inner: Mapping[str, Tensor] = lora.get("generator_lora", lora)
    merged = dict(weights)
    for name, down in inner.items():
        if ".lora_A." not in name:
            continue
        up = inner[name.replace(".lora_A.", ".lora_B.")]
        target = name.removeprefix("base_model.model.").removeprefix("model.").replace(".lora_A.", ".")
        target = target.replace(".default.", ".").replace("_fsdp_wrapped_module.", "")
        if target not in merged:
            raise ValueError(f"the adapter changes {target}, which these weights do not have")
        merged[target] = (merged[target].float() + scale * up.float() @ down.float()).to(merged[target].dtype)
    return merged


def _network(config: WanConfig, weights: Mapping[str, Tensor] | None) -> Any:
    """A flashdreams configuration whose network carries these weights (None: random ones)."""
    from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetwork, WanDiTNetworkConfig

    class Loaded(WanDiTNetworkConfig):
        def setup(self, **kwargs: Any) -> Any:
            if weights is None:
                return WanDiTNetwork(self)
            with torch.device("meta"):
                network = WanDiTNetwork(self)
            network.load_state_dict(dict(weights), assign=True)
            return network

    return Loaded(
        dim=config.dim, ffn_dim=config.ffn, num_heads=config.heads, num_layers=config.layers, freq_dim=config.freq_dim,
        text_dim=config.text_dim, text_len=config.text, in_dim=config.channels, out_dim=config.channels,
        apply_rope_before_kvcache=False,
    )  # fmt: skip


class Rollout:
    """One network and its cache. Latents are (frames, channels, rows, columns), normalised as the network knows them.

    rows, columns: even; an eighth of the frame's. weights: as from `network_weights`; None makes random ones.
    compiler: compiles the blocks, all of which are alike, and captures the network as a CUDA graph; for CUDA. Under
    `torchrun` a chunk's tokens are divided among all processes, which must make the same calls.
    """

    def __init__(self, config: WanConfig, rows: int, columns: int, device: torch.device, *,
                 weights: Mapping[str, Tensor] | None = None, compiler: Compiler = None) -> None:  # fmt: skip
        fit_flashdreams(device.type)
        from flashdreams.recipes.wan.transformer.wan21 import Wan21Transformer, Wan21TransformerConfig

        if compiler is not None:  # every width of the window has shapes of its own while it fills
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
        self.config, self.rows, self.columns, self.device = config, rows, columns, device
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.transformer = Wan21Transformer(
            Wan21TransformerConfig(
                network=_network(config, weights), dtype=self.dtype, batch_shape=(), len_t=config.frames,
                window_size_t=config.window, sink_size_t=config.sink, compile_network=False,
                use_cuda_graph=compiler is not None,
            )
        ).to(device).requires_grad_(False)  # fmt: skip
        for block in self.transformer.network.blocks:
            compile_in_place(block, compiler)
        self.text = torch.zeros(config.text, config.text_dim, dtype=self.dtype, device=device)
        self.cache = self.transformer.initialize_autoregressive_cache(
            height=rows, width=columns, text_embeddings=self.text
        )
        self._kept = [(block.self_attn._k, block.self_attn._v) for block in self.cache.network_cache.block_caches]
        self._calls = {config.window: self.transformer._network_call}  # one CUDA graph a width, where there are graphs
        self._open: Tensor | None = None  # a chunk that is drawn but not in the cache yet
        self._started = False  # the cache has made room for a chunk
        self.past: list[Tensor] = []  # what the cache holds, as clean tokens: sink, then window
        self.index = 0  # of the next chunk, counted from when the cache was last empty
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Clear the cache. The text stays."""
        self._empty()
        self.past.clear()
        self.seed, self.drawn = seed, 0

    def _empty(self) -> None:
        self._open, self._started = None, False
        for block in self.cache.network_cache.block_caches:
            block.self_attn.reset()
            block.self_attn._curr_chunk_idx = None  # of a chunk that was open, or whose drawing failed
        self.index = 0

    def _refill(self) -> None:
        """Compute the cache from what it holds."""
        self._empty()
        for chunk in self.past:
            self._start()
            self._remember(chunk)

    def _start(self) -> None:
        self.cache.start(self.index)
        self._started = True

    def set_text(self, values: Array | Tensor) -> None:
        """Set the text embeddings: (n, text_dim), n at most the network's; the rest is zeros. The cache stays as it is.

        An open chunk is first put into the cache under the text with which it was denoised.
        """
        self.settle()
        self.text.zero_()
        self.text[: len(values)] = torch.as_tensor(values).to(self.device, self.dtype)
        network = self.transformer.network
        with torch.no_grad():
            context = network.text_embedding(self.text)
            for block, cache in zip(network.blocks, self.cache.network_cache.block_caches, strict=True):
                fresh = block.cross_attn.compute_kv(context)
                cache.cross_attn.text.update(fresh.cached_k(), fresh.cached_v())

    def recache(self) -> None:
        """Compute the cache again under the present text (LongLive's re-cache)."""
        self.settle()
        if len(self.past) == self.config.chunks:
            del self.past[self.config.sink_chunks]  # the next chunk would have pushed it out
        self._refill()

    def widen(self, window: int) -> None:
        """Set the window, in latent frames, from the next chunk on: at most the one that it was made with. A narrower
        window drops older frames; a wider one fills as it rolls. Raises ValueError for a part of a chunk."""
        if window == self.config.window:
            return
        self.settle()
        self.config = config = replace(self.config, window=window)
        there = len(self.past)  # chunks in the cache
        sink, self.past = self.past[: config.sink_chunks], self.past[config.sink_chunks :]
        rolling = config.chunks - config.sink_chunks
        self.past = [*sink, *self.past[-rolling:]]
        self.index = len(self.past)
        for block, buffers in zip(self.cache.network_cache.block_caches, self._kept, strict=True):
            kept, size = block.self_attn, block.self_attn.chunk_size
            if gone := there - self.index:
                first, last = config.sink_chunks * size, self.index * size
                for tensor in buffers:
                    tensor[:, first:last] = tensor[:, first + gone * size : last + gone * size].clone()
            kept._k, kept._v = (tensor[:, : config.chunks * size] for tensor in buffers)
            kept.window_size = config.window // config.frames * size
            kept._n_cached, kept._prev_chunk_idx = self.index * size, self.index - 1
        if window not in self._calls:
            call = self.transformer._network_call
            graphed = self.transformer._use_cuda_graph
            self._calls[window] = type(call)(self.transformer.network) if graphed else call
        self.transformer._network_call = self._calls[window]
        self.transformer._cuda_graph_capture_ar_idx = config.chunks

    def chunk(self, steps: int) -> Tensor:
        """Denoise the next chunk in 1..4 steps: (frames, channels, rows, columns) float32."""
        self.settle()
        self._start()
        noise = self._noise()
        clean = x = next(noise)
        for level in levels(steps):
            share = noise_share(level, self.config.shift)
            if level != TRAINED_NOISE_LEVELS[0]:
                x = (1 - share) * clean + share * next(noise)
            clean = x - share * self._flow(x, 1000 * share)
        self._open = clean
        self.drawn += 1
        return self.transformer.unpatchify_and_maybe_gather_cp(clean)

    def settle(self) -> None:
        """Put the last chunk into the cache, if it is not there yet."""
        if self._open is None:
            if self._started:  # drawing it failed, when the cache had made room for it
                self._refill()
            return
        chunk, self._open = self._open, None
        self._remember(chunk)
        self.past.append(chunk)
        if len(self.past) > self.config.chunks:
            del self.past[self.config.sink_chunks]

    def _remember(self, chunk: Tensor) -> None:
        self._flow(chunk, 0.0)
        self.cache.finalize(self.index)
        self._started = False
        self.index += 1

    @torch.no_grad()
    def _flow(self, x: Tensor, level: float) -> Tensor:
        time = torch.tensor(level, device=self.device)
        return self.transformer.predict_flow(x.to(self.dtype), time, self.cache).float()

    def _noise(self) -> Iterator[Tensor]:
        """Samples of a chunk's noise, which depend on the seed and the chunk's number alone, not on the device."""
        mixed = np.random.SeedSequence((self.seed % 2**64, self.drawn)).generate_state(1, np.uint64)[0]
        source = torch.Generator().manual_seed(int(mixed) % 2**63)
        c = self.config
        while True:
            noise = torch.randn(c.frames, c.channels, self.rows, self.columns, generator=source)
            yield self.transformer.patchify_and_maybe_split_cp(noise.to(self.device))

    def snapshot(self) -> dict[str, Any]:
        """Everything, copied; on the rollout's device. For 1.3B about 0.29 GB for each cached latent frame."""
        self.settle()
        layers = []
        for block in self.cache.network_cache.block_caches if self.index else ():
            block.self_attn.before_update(self.index - 1)
            layers.append((block.self_attn.cached_k().clone(), block.self_attn.cached_v().clone()))
            block.self_attn.after_update(self.index - 1)
        return {
            "layers": layers, "text": self.text.clone(), "past": list(self.past),
            "seed": self.seed, "drawn": self.drawn,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self.reset(state["seed"])
        self.set_text(state["text"])
        self.drawn, self.past = state["drawn"], list(state["past"])
        while len(self.past) > self.config.chunks:  # it was drawn with a wider window
            del self.past[self.config.sink_chunks]
        blocks = self.cache.network_cache.block_caches
        for block, (k, v) in zip(blocks, state["layers"], strict=False):
            size = block.self_attn.chunk_size
            for i, (keys, values) in enumerate(zip(k.split(size, 1), v.split(size, 1), strict=True)):
                block.self_attn.before_update(i)
                block.self_attn.update(keys, values)
                block.self_attn.after_update(i)
                self.index = i + 1

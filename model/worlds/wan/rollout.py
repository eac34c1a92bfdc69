"""The causal Wan 2.1 rollout: latents chunk by chunk, without an end, in constant memory.

As in Self-Forcing (Huang et al., 2025) a chunk of latent frames is denoised in one to four steps while its
network sees the chunks before it through a key-value cache; one more pass over the finished chunk, at noise level 0,
puts it into the cache. The cache keeps the first frames (the sink) and a rolling window, as in LongLive (Yang et al.,
2025). Keys are kept unrotated and turned by their place in the cache when they are read, so that positions stay within
the trained range however long the rollout. For the same reason the window can be changed while it rolls: what stays in
the cache is moved to its new place, and every width uses the front of the same memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...devices import upload
from ...spec import Array
from .config import TRAINED_NOISE_LEVELS, Size, WanConfig
from .kernels import Compiler, arithmetic, compile_in_place, fit_flashdreams

RECOMPILE_LIMIT = 64  # of torch, for one function


def scaled(frames: Tensor, size: Size) -> Tensor:
    """Frames of latents (n, channels, rows, columns) in another size."""
    return F.interpolate(frames, size, mode="bicubic", antialias=True)


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

    sizes: that it can have, the largest first, which it has at the beginning. weights: as from `network_weights`;
    None makes random ones. compiler: compiles the blocks, all of which are alike, and captures the network as a CUDA
    graph; for CUDA. Under `torchrun` a chunk's tokens are divided among all processes, which must make the same
    calls.
    """

    def __init__(self, config: WanConfig, sizes: Sequence[Size], device: torch.device, *,
                 weights: Mapping[str, Tensor] | None = None, compiler: Compiler = None) -> None:  # fmt: skip
        fit_flashdreams(device.type)
        from flashdreams.recipes.wan.transformer.wan21 import Wan21Transformer, Wan21TransformerConfig

        if compiler is not None:  # every width of the window has shapes of its own while it fills
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
        self.config, self.size, self.device = config, sizes[0], device
        self.dtype = arithmetic(device)
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
        self._caches: dict[Size, Any] = {}
        for rows, columns in sizes:
            cache = self.transformer.initialize_autoregressive_cache(
                height=rows, width=columns, text_embeddings=self.text
            )
            first = next(iter(self._caches.values()), cache).network_cache.block_caches
            for own, shared in zip(cache.network_cache.block_caches, first, strict=True):
                # All sizes use the same text, and the front of the same memory: the past is in one size at a time.
                own.cross_attn = shared.cross_attn
                length = own.self_attn._k.shape[1]
                own.self_attn._k, own.self_attn._v = (t[:, :length] for t in (shared.self_attn._k, shared.self_attn._v))
            self._caches[rows, columns] = cache
        self.cache = self._caches[self.size]
        self._kept = [(block.self_attn._k, block.self_attn._v) for block in self.cache.network_cache.block_caches]
        self._calls: dict[tuple[Size, int], Any] = {}  # where there are CUDA graphs, one for each size and width
        self._take_size(self.size)
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

    def _take_size(self, size: Size) -> None:
        """The cache of that size is used from now on, with the present window; it is empty."""
        self.size, self.cache = size, self._caches[size]
        self.transformer._output_height, self.transformer._output_width = size
        self._fit_window()

    def _fit_window(self) -> None:
        """Let the cache of this size have the present window."""
        config = self.config
        for block, buffers in zip(self.cache.network_cache.block_caches, self._kept, strict=True):
            kept, chunk = block.self_attn, block.self_attn.chunk_size
            kept._k, kept._v = (tensor[:, : config.chunks * chunk] for tensor in buffers)
            kept.window_size = config.window // config.frames * chunk
        key = self.size, config.window
        if key not in self._calls:
            call = self.transformer._network_call
            graphed = self.transformer._use_cuda_graph
            self._calls[key] = type(call)(self.transformer.network) if graphed else call
        self.transformer._network_call = self._calls[key]
        self.transformer._cuda_graph_capture_ar_idx = config.chunks

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
        (rows,) = upload([values if isinstance(values, Tensor) else torch.as_tensor(values)], self.device)
        self.text[: len(values)] = rows.to(self.dtype)
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
        self._trim()
        self.index = len(self.past)
        for block, buffers in zip(self.cache.network_cache.block_caches, self._kept, strict=True):
            kept, size = block.self_attn, block.self_attn.chunk_size
            if gone := there - self.index:
                first, last = config.sink_chunks * size, self.index * size
                for tensor in buffers:
                    tensor[:, first:last] = tensor[:, first + gone * size : last + gone * size].clone()
            kept._n_cached, kept._prev_chunk_idx = self.index * size, self.index - 1
        self._fit_window()

    def _trim(self) -> None:
        """Forget what is older than the window."""
        while len(self.past) > self.config.chunks:
            del self.past[self.config.sink_chunks]

    def resize(self, size: Size, window: int) -> None:
        """Set the size of the frame, one of `sizes`, and the window, from the next chunk on. What it remembers is
        scaled and computed again under the present text."""
        if size == self.size:
            return self.widen(window)
        self.settle()
        self.config = replace(self.config, window=window)
        self._trim()
        self._empty()
        before = self.size
        self._take_size(size)
        self._scale_past(before)
        self.recache()
        return None

    def _scale_past(self, before: Size) -> None:
        """Bring the past into the present size."""
        transformer = self.transformer
        transformer._output_height, transformer._output_width = before
        chunks = [transformer.unpatchify_and_maybe_gather_cp(chunk) for chunk in self.past]
        transformer._output_height, transformer._output_width = self.size
        self.past = [transformer.patchify_and_maybe_split_cp(scaled(chunk, self.size)) for chunk in chunks]

    def newest(self) -> Tensor | None:
        """The newest chunk that it remembers, as `chunk` returned it; None before the first."""
        self.settle()
        return self.transformer.unpatchify_and_maybe_gather_cp(self.past[-1]) if self.past else None

    def chunk(self, steps: int) -> Tensor:
        """Denoise the next chunk in 1..4 steps: (frames, channels, rows, columns) float32."""
        self.settle()
        self._start()
        chosen = levels(steps)
        noise = iter(self._noise(len(chosen)))
        clean = x = next(noise)
        for level in chosen:
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
        time = torch.full((), level, device=self.device)
        return self.transformer.predict_flow(x.to(self.dtype), time, self.cache).float()

    def _noise(self, count: int) -> list[Tensor]:
        """Samples of a chunk's noise, which depend on the seed and the chunk's number alone, not on the device."""
        mixed = np.random.SeedSequence((self.seed % 2**64, self.drawn)).generate_state(1, np.uint64)[0]
        source = torch.Generator().manual_seed(int(mixed) % 2**63)
        shape = (self.config.frames, self.config.channels, *self.size)
        drawn = [torch.randn(shape, generator=source) for _ in range(count)]
        return [self.transformer.patchify_and_maybe_split_cp(noise) for noise in upload(drawn, self.device)]

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
            "seed": self.seed, "drawn": self.drawn, "size": self.size,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot, in its size and the present window. One in a size that this rollout does not have is
        scaled."""
        self.reset(state["seed"])
        if known := state["size"] in self._caches:
            self._take_size(state["size"])
            self._empty()
        self.set_text(state["text"])
        self.drawn, self.past = state["drawn"], list(state["past"])
        self._trim()
        if not known:
            self._scale_past(state["size"])
            self._refill()
            return
        blocks = self.cache.network_cache.block_caches
        for block, (k, v) in zip(blocks, state["layers"], strict=False):
            size = block.self_attn.chunk_size
            for i, (keys, values) in enumerate(zip(k.split(size, 1), v.split(size, 1), strict=True)):
                block.self_attn.before_update(i)
                block.self_attn.update(keys, values)
                block.self_attn.after_update(i)
                self.index = i + 1

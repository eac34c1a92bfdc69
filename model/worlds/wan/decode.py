"""From latents to frames, one latent frame at a time, with the decoder's state of earlier frames kept.

The first latent frame of a stream makes one frame of video, every later one four.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .kernels import Compiler, arithmetic, compile_in_place, fit_flashdreams

TIME_DOUBLINGS = (True, True, False)  # of the full decoder's three doublings in space, which also double the frames


class StreamDecoder:
    """Base class of both decoders. compiler: compiles the network; graphed: it is captured as a CUDA graph; both for
    CUDA alone."""

    def __init__(self, net: nn.Module, weights: Mapping[str, Tensor], device: torch.device, *,
                 compiler: Compiler, graphed: bool) -> None:  # fmt: skip
        from flashdreams.infra.cuda_graph import CUDAGraphWrapper
        from flashdreams.recipes.wan.autoencoder.vae import WanVAEDecoderConfig

        missing, _ = net.load_state_dict(dict(weights), strict=False, assign=True)  # the encoder's half is not needed
        if missing:
            raise ValueError(f"these are not the decoder's weights: no {', '.join(missing[:3])}")
        self.device, self.dtype = device, arithmetic(device)
        self.net: Any = net.to(device, self.dtype).eval().requires_grad_(False)
        self.order = {id(module): i for i, module in enumerate(net.modules())}
        compile_in_place(net, compiler)
        self.graph = CUDAGraphWrapper(net) if graphed else None
        known = WanVAEDecoderConfig()
        self.mean, self.std = (
            torch.tensor(v, dtype=torch.float32, device=device).view(-1, 1, 1)
            for v in (known.latent_mean, known.latent_std)
        )
        self.state: dict[int, Tensor] = {}
        self.first = True

    @torch.no_grad()
    def __call__(self, latent: Tensor) -> Tensor:
        """(channels, rows, columns), normalised -> (1 or 4, 8 rows, 8 columns, 3) uint8."""
        latent = (latent * self.std + self.mean).to(self.dtype)
        # The first call has shapes of its own: it runs by itself, and only later ones become a graph.
        run = self.net if self.graph is None else self.graph.drain if self.first else self.graph
        frames = self._decode(run, latent)
        self.first = False
        return (frames.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def _decode(self, run: Any, latent: Tensor) -> Tensor:
        """-> (n, 3, height, width), 0..1 and perhaps beyond."""
        raise NotImplementedError

    def reset(self) -> None:
        """The next latent frame is the first of a stream."""
        self.state.clear()
        self.first = True
        if self.graph is not None:
            self.graph.reset()

    def snapshot(self) -> dict[str, Any]:
        return {"first": self.first, "kept": {self.order[k]: v.clone() for k, v in self.state.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        from flashdreams.infra.cuda_graph import set_or_copy

        if state["first"]:
            return self.reset()
        ids = {i: k for k, i in self.order.items()}
        for i, kept in state["kept"].items():
            set_or_copy(self.state, ids[i], kept)  # into the same memory: a graph reads from there
        self.first = False
        return None


class TinyDecoder(StreamDecoder):
    """TAEHV (Boer Bohan), by the weights `lighttaew2_1`: milliseconds a latent frame on a GPU."""

    def __init__(
        self, weights: Mapping[str, Tensor], rows: int, columns: int, device: torch.device, *, compiler: Compiler = None
    ) -> None:
        fit_flashdreams(device.type)
        from flashdreams.recipes.taehv.checkpoint import legacy_to_blocks_keys, truncate_oversize_tgrow_weights
        from flashdreams.recipes.taehv.impl import Decoder

        weights = legacy_to_blocks_keys(weights)
        a, b, c, d = (len(_known(weights, f"decoder.blocks.{i}.weight")) for i in (1, 8, 14, 20))
        widths = a, b, c, d
        with torch.device("meta"):
            net = Decoder(widths, 16, 3, 1, (True, True), (True, True, True), nn.ReLU(inplace=True))
        named = _under("decoder.", truncate_oversize_tgrow_weights(channels=widths)(weights))
        super().__init__(net, named, device, compiler=compiler, graphed=compiler is not None)
        self.shape = (1, 1, 16, rows, columns)
        self.reset()

    def reset(self) -> None:
        """Clears the state in place, so that a CUDA graph stays valid."""
        if self.state:
            for kept in self.state.values():
                kept.zero_()
        else:
            self.net.initialize_state(self.shape, self.dtype, self.device, self.state)
        self.first = True

    def _decode(self, run: Any, latent: Tensor) -> Tensor:
        frames = run(latent[None, None], self.state, 1)[0]
        return frames[3:] if self.first else frames


class FullDecoder(StreamDecoder):
    """The decoder of Wan 2.1's own autoencoder (weights `Wan2.1_VAE`): finer, and slower."""

    def __init__(self, weights: Mapping[str, Tensor], device: torch.device, *, compiler: Compiler = None) -> None:
        fit_flashdreams(device.type)
        from flashdreams.recipes.wan.autoencoder.vae import CausalConv3d, Decoder3d, Resample

        with torch.device("meta"):
            net = Decoder3d(
                dim=len(_known(weights, "decoder.conv1.weight")) // 4, z_dim=16, temperal_upsample=TIME_DOUBLINGS
            )
        for module in net.modules():
            if isinstance(module, Resample) and module.mode == "upsample3d":
                module.__dict__["_upsample3d_step"] = partial(_upsample, module)
        super().__init__(net, _under("decoder.", weights), device, compiler=None, graphed=compiler is not None)
        enter = CausalConv3d(16, 16, 1)
        enter.load_state_dict(_under("conv2.", weights))
        self.enter = enter.to(device, self.dtype).requires_grad_(False)

    def _decode(self, run: Any, latent: Tensor) -> Tensor:
        frames = run(self.enter(latent[None, :, None]), self.state, first_chunk=self.first)[0]
        return frames.transpose(0, 1) / 2 + 0.5


def _upsample(module: Any, x: Tensor, state: dict[int, Tensor]) -> Tensor:
    """flashdreams' doubling of frames, for single latent frames too: its convolution needs two earlier frames, of which
    version 0.1.0 keeps only one, because it decodes three frames at a time."""
    kept = state.get(id(module))
    tail = None if kept is None or x.shape[2] > 1 else torch.cat([kept[:, :, -1:], x], 2)
    out: Tensor = type(module)._upsample3d_step(module, x, state)
    if kept is not None and tail is not None:
        kept.copy_(tail)
        state[id(module)] = kept
    return out


def _known(weights: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise ValueError(f"these are not the decoder's weights: no {name}")
    return weights[name]


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}

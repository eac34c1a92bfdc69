"""Nano on a CPU by OpenVINO: the graphs of `frame_graphs`, converted once a machine and kept in the user's cache.

In int8 are the convolutions of the decoders, which take most of the time of a frame. The network stays in floating
point: its latents come back in every later frame.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn

from ..stage.scene import Scene
from .frame_graphs import DecodeGraph, DenoiseGraph, GuideGraph, ReadGraph, guide_inputs
from .graph_runtime import SLOTS, GraphRuntime
from .still_frames import still
from .texture_selection import Selector
from .transformer import KVCache, Readings, Vectors

if TYPE_CHECKING:
    from .world import Nano

# Each import of OpenVINO and each conversion would be reported to its makers; without this package it stays silent.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

from .int8 import quantised  # noqa: E402

logger = logging.getLogger(__name__)

SOURCES = (Path(__file__).parent, Path(__file__).parents[1] / "stage")  # code that the converted graphs depend on


INT8 = "int8"
EXAMPLES = 8  # scenes by which the decoders are calibrated
EXAMPLES_SEED = 1


def precisions() -> list[str]:
    """Those that this CPU computes, the fastest first in most cases."""
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [name for name, needs in (("bf16", "BF16"), (INT8, "INT8"), ("f32", "FP32")) if needs in able]


def return_free_memory() -> None:
    """Give the system back what compiling left over: glibc keeps it for itself otherwise."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


class OpenVINO(GraphRuntime):
    """precision: of the network and the decoder, one of `precisions`; textures are always read in f32."""

    def __init__(self, nano: Nano, precision: str, threads: int) -> None:
        super().__init__(nano, f"openvino {precision}")
        self._core = openvino.Core()
        self._nano, self._folder = nano, cache_folder(nano)
        self._int8 = precision == INT8
        self._precision = next(name for name in precisions() if name != INT8) if self._int8 else precision
        self._folder.mkdir(parents=True, exist_ok=True)
        # Without OpenVINO's own cache of compiled graphs: one that it had written gave nothing but NaN from then on.
        self._settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        shape = f"{nano.rows}x{nano.columns}"
        opening = nano.opening()
        scene = opening.scene
        self._selector, readers = Selector(self._world.textures), {}
        for slots in SLOTS:
            selected = self._selector.select(scene, slots)
            graph = ReadGraph(self._world, self._selector.wrap_rows, list(selected), nano.rows, nano.columns)
            readers[slots] = self._open(f"read-{slots}-{shape}.xml", graph, (scene.flat(), *selected.values()), "f32")
        self._readers = readers
        with torch.inference_mode():
            readings = self._pytorch.read(scene)
        latents = torch.zeros(nano.latent_shape)
        example = self._inputs(latents, 1.0, opening.vectors(), readings, KVCache())
        self._denoise = self._open(f"denoise-{shape}.xml", DenoiseGraph(self._world), example, self._precision)
        self._decode = self._open_decoder(f"decode-{shape}.xml", DecodeGraph(nano), [latents], self._examples)
        return_free_memory()

    def prepare_large(self) -> None:
        nano, opening, decoder = self._nano, self._nano.opening(), self._nano.guided
        self._fine_selector = Selector(decoder.textures)
        scene, vectors, name = opening.scene, opening.vectors(), f"{nano.rows}x{nano.columns}-{nano.large_digest}.xml"
        with torch.inference_mode():
            readings = self._pytorch.read(scene)
            guide = self._pytorch.guide(scene, readings, vectors)
        guides = {}
        for slots in SLOTS:
            graph = GuideGraph.of(decoder, self._fine_selector, scene, slots, nano.rows, nano.columns)
            example = self._guide_inputs(scene, readings, slots, vectors)
            guides[slots] = self._open(f"guide-{slots}-{name}", graph, example, "f32")
        self._guides = guides
        example = [torch.zeros(nano.latent_shape), guide]
        decode = DecodeGraph(nano, decoder)
        self._decode_large = self._open_decoder(f"decode-large-{name}", decode, example, self._guided_examples)
        return_free_memory()

    def _guide_inputs(self, scene: Scene, readings: Readings, slots: int, vectors: Vectors) -> list[Tensor]:
        return guide_inputs(scene, readings, slots, self._fine_selector, vectors, self._nano.guided)

    def _selected(self, scene: Scene, slots: int) -> list[Tensor]:
        return [scene.flat(), *self._selector.select(scene, slots).values()]

    def denoise(self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache) -> Tensor:
        latents = super().denoise(noisy, level, vectors, readings, cache)
        if not bool(latents.isfinite().all()):
            raise RuntimeError("it computed values that are not numbers")
        return latents

    def _examples(self) -> Iterator[list[Tensor]]:
        """Inputs of the decoder."""
        for latents, _, _, _ in self._still():
            yield [latents]

    @torch.inference_mode()
    def _guided_examples(self) -> Iterator[list[Tensor]]:
        """The same of the decoder of large frames."""
        for latents, scene, readings, vectors in self._still():
            yield [latents, self._pytorch.guide(scene, readings, vectors)]

    @torch.inference_mode()
    def _still(self) -> Iterator[tuple[Tensor, Scene, Readings, Vectors]]:
        from ..stage.sample import moments

        noise, scenes = torch.Generator().manual_seed(EXAMPLES_SEED), moments(EXAMPLES_SEED, EXAMPLES)
        for i in range(EXAMPLES):
            latents, readings, vectors = still(self._nano, scenes[i : i + 1], noise)
            yield latents, scenes[i : i + 1], readings, vectors

    def _open(self, name: str, graph: nn.Module, example: Sequence[Tensor], precision: str) -> Infer:
        path = self._folder / name
        model = self._core.read_model(path) if path.exists() else _convert(graph, example, path)
        return self._compiled(model, precision)

    def _open_decoder(
        self, name: str, graph: nn.Module, example: Sequence[Tensor], examples: Callable[[], Iterator[list[Tensor]]]
    ) -> Infer:
        if not self._int8:
            return self._open(name, graph, example, self._precision)
        path = self._folder / f"{INT8}-{name}"
        if not path.exists():
            whole = self._folder / name
            if not whole.exists():
                _convert(graph, example, whole)
            logger.info("calibrating %s, once", path.name)
            _save(quantised(whole, ([tensor.numpy() for tensor in tensors] for tensors in examples())), path)
        return self._compiled(self._core.read_model(path), self._precision)

    def _compiled(self, model: openvino.Model, precision: str) -> Infer:
        return Infer(self._core.compile_model(model, "CPU", {**self._settings, "INFERENCE_PRECISION_HINT": precision}))


class Infer:
    """One compiled graph, called with tensors. What it returns is valid until the next call."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        arrays = [tensor.contiguous().numpy() for tensor in inputs]
        results = self._request.infer(arrays, share_inputs=True, share_outputs=True)
        return [torch.from_numpy(array) for array in results.values()]


def _convert(graph: nn.Module, example: Sequence[Tensor], path: Path) -> Any:
    """PyTorch's graph as OpenVINO's, with fixed shapes; written to `path`."""
    logger.info("converting %s for OpenVINO, once", path.name)
    example = tuple(tensor.clone() for tensor in example)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constants, which are meant to be constant
        traced = torch.jit.trace(graph.eval(), example, check_trace=False)
    decoder = TorchScriptPythonDecoder(traced)  # kept until the end: the front end reads from it
    front_end = FrontEndManager().load_by_framework("pytorch")
    model = front_end.convert(front_end.load(decoder))
    model.reshape({i: openvino.PartialShape(list(tensor.shape)) for i, tensor in enumerate(example)})
    _save(model, path)
    return model


def _save(model: Any, path: Path) -> None:
    unfinished = path.with_suffix(".part.xml")
    openvino.save_model(model, unfinished, compress_to_fp16=False)
    unfinished.with_suffix(".bin").replace(path.with_suffix(".bin"))
    unfinished.replace(path)


def cache_folder(nano: Nano) -> Path:
    """Where the graphs of these weights, this code and this version of OpenVINO are kept."""
    digest = hashlib.sha256(openvino.__version__.encode())
    for folder in SOURCES:
        for source in sorted(folder.glob("*.py")):
            digest.update(source.read_bytes())
    digest.update(nano.weights_digest)
    return user_cache_path("worldjockey") / "openvino" / digest.hexdigest()[:16]

"""Nano on a CPU by OpenVINO: the graphs of `frame_graphs`, converted once a machine and kept in the user's cache."""

from __future__ import annotations

import hashlib
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn

from ..stage.scene import Scene
from .frame_graphs import DecodeGraph, DenoiseGraph, MemoryGraph, ReadGraph, extend, padded
from .texture_selection import Selector
from .transformer import KVCache, Readings, Vectors

if TYPE_CHECKING:
    from .world import Nano

# Each import of OpenVINO and each conversion would be reported to its makers; without this package it stays silent.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

logger = logging.getLogger(__name__)

SLOTS = (1, 2)  # places, spirals and drops shown at once, for which there is a graph; more are read by PyTorch
SOURCES = (Path(__file__).parent, Path(__file__).parents[1] / "stage")  # code that the converted graphs depend on


def precisions() -> list[str]:
    """Those that this CPU computes natively, the fastest first."""
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["bf16", "f32"] if "BF16" in able else ["f32"]


class OpenVINO:
    """A `runtime.Runtime`. precision: of the network and the decoder; textures are always read in f32.

    Raises RuntimeError for a world that has no static graph.
    """

    def __init__(self, nano: Nano, precision: str, threads: int) -> None:
        if nano.world.config.recall:
            raise RuntimeError("a world with sparse recall has no static graph")
        self.name = f"openvino {precision}"
        self._nano, self._world = nano, nano.world
        self._places = nano.rows * nano.columns // nano.world.config.patch**2
        self._core = openvino.Core()
        folder = cache_folder(nano)
        folder.mkdir(parents=True, exist_ok=True)
        # Without OpenVINO's own cache of compiled graphs: one that it had written gave nothing but NaN from then on.
        self._settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        shape = f"{nano.rows}x{nano.columns}"
        opening = nano.opening()
        scene = opening.scene
        self._selector, self._readers = Selector(self._world.textures), {}
        for slots in SLOTS:
            selected = self._selector.select(scene, slots)
            graph = ReadGraph(self._world, self._selector.wrap_rows, list(selected), nano.rows, nano.columns)
            path = folder / f"read-{slots}-{shape}.xml"
            self._readers[slots] = self._open(path, graph, (scene.flat(), *selected.values()), "f32")
        with torch.inference_mode():
            readings = self._world.read(scene, nano.rows, nano.columns)
        latents = torch.zeros(1, nano.world.config.channels, nano.rows, nano.columns)
        example = self._inputs(latents, 1.0, opening.vectors(), readings, KVCache())
        self._denoise = self._open(folder / f"denoise-{shape}.xml", DenoiseGraph(self._world), example, precision)
        self._summarise = self._open(folder / f"memory-{shape}.xml", MemoryGraph(self._world), (latents,), precision)
        self._decode = self._open(folder / f"decode-{shape}.xml", DecodeGraph(nano), (latents,), precision)

    def read(self, scene: Scene) -> Readings:
        slots = self._selector.slots(scene)
        if slots not in self._readers:
            return self._world.read(scene, self._nano.rows, self._nano.columns)
        return Readings(*self._readers[slots]((scene.flat(), *self._selector.select(scene, slots).values())))

    def denoise(self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache) -> Tensor:
        latents, *kept = self._denoise(self._inputs(noisy, level, vectors, readings, cache))
        if not bool(latents.isfinite().all()):
            raise RuntimeError("it computed values that are not numbers")
        extend(cache, self._world, kept)
        return latents.clone()

    def summarise(self, latents: Tensor) -> Tensor:
        return self._summarise((latents,))[0].clone()

    def decode(self, latents: Tensor) -> Tensor:
        return self._decode((latents,))[0].clone()

    def _inputs(
        self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache
    ) -> tuple[Tensor, ...]:
        missing, kept = padded(cache, self._world, self._places, noisy.device)
        return (noisy, torch.full((1,), level), readings.detail, readings.bearings, vectors.prompt, vectors.guidance,
                missing, *vectors.others, *kept)  # fmt: skip

    def _open(self, path: Path, graph: nn.Module, example: Sequence[Tensor], precision: str) -> Infer:
        model = self._core.read_model(path) if path.exists() else _convert(graph, example, path)
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
    unfinished = path.with_suffix(".part.xml")
    openvino.save_model(model, unfinished, compress_to_fp16=False)
    unfinished.with_suffix(".bin").replace(path.with_suffix(".bin"))
    unfinished.replace(path)
    return model


def cache_folder(nano: Nano) -> Path:
    """Where the graphs of these weights, this code and this version of OpenVINO are kept."""
    digest = hashlib.sha256(openvino.__version__.encode())
    for folder in SOURCES:
        for source in sorted(folder.glob("*.py")):
            digest.update(source.read_bytes())
    for module in (nano.world, nano.autoencoder):
        for tensor in module.state_dict().values():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return user_cache_path("worldjockey") / "openvino" / digest.hexdigest()[:16]

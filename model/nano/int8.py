"""Convolutions in 8 bits, for CPUs: post-training quantisation of an OpenVINO graph.

Activations get 256 levels over a range that is chosen by what passes in examples, weights 127 for each output channel
(Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference"). OpenVINO computes a convolution
in int8 where both of its inputs have levels. A good CPU adds four products of bytes at once; one without VNNI adds two
into 16 bits, which is why weights use half of their 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops
from openvino.passes import ConstantFolding, Manager

LEVELS, WEIGHT_LEVELS = 256, 255
WEIGHT_MAX = 63  # of 127: two products with activations up to 255 fit into 16 bits
SHRINKS = np.linspace(0.3, 1.0, 29)  # of the range of an activation, that are tried: rare large values may be clipped
VALUES_KEPT = 20_000  # of an activation in one example
SMALLEST = 1e-6  # range of an activation that is always the same


def quantised(path: Path, examples: Iterable[Sequence[NDArray[Any]]]) -> openvino.Model:
    """The graph in a file with levels before its convolutions. examples: inputs of the graph."""
    core = openvino.Core()
    model, probe = (_folded(core.read_model(path)) for _ in range(2))
    convolutions = [op for op in model.get_ops() if _is_learned_convolution(op)]
    sources = list(dict.fromkeys(_source(op) for op in convolutions))
    ops_of_probe = {op.get_friendly_name(): op for op in probe.get_ops()}
    own_outputs = len(probe.outputs)
    probe.add_outputs([ops_of_probe[name].output(index) for name, index in sources])
    request = core.compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    seen: list[list[NDArray[np.float32]]] = [[] for _ in sources]
    chooser = np.random.default_rng(0)
    for example in examples:
        found = list(request.infer(list(example)).values())[own_outputs:]
        for kept, values in zip(seen, found, strict=True):
            kept.append(chooser.choice(values.ravel(), min(values.size, VALUES_KEPT)))
    ranges = {source: activation_range(np.concatenate(kept)) for source, kept in zip(sources, seen, strict=True)}
    for op in convolutions:
        low, high = ranges[_source(op)]
        levels = ops.fake_quantize(op.input_value(0), low, high, low, high, LEVELS)
        largest = weight_range(op.input_value(1).get_node().data)
        weights = ops.fake_quantize(op.input_value(1), -largest, largest, -largest, largest, WEIGHT_LEVELS)
        op.input(0).replace_source_output(levels.output(0))
        op.input(1).replace_source_output(weights.output(0))
    model.validate_nodes_and_infer_types()
    return model


def activation_range(values: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """The range, with 0 at a level, over which LEVELS levels are nearest to the values by their squared error."""
    low, high = min(0.0, float(values.min())), max(SMALLEST, float(values.max()))
    tried = []
    for shrink in SHRINKS:
        step = (high - low) * shrink / (LEVELS - 1)
        zero = round(-low * shrink / step)
        rounded = (np.clip(np.round(values / step) + zero, 0, LEVELS - 1) - zero) * step
        tried.append((float(((rounded - values) ** 2).mean()), -zero * step, (LEVELS - 1 - zero) * step))
    _, low, high = min(tried)
    return np.float32(low), np.float32(high)


def weight_range(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(outputs, inputs, rows, columns) -> the largest value of each output channel's levels."""
    largest = np.abs(weights).max(tuple(range(1, weights.ndim)), keepdims=True)
    return (np.maximum(largest, SMALLEST) * (127 / WEIGHT_MAX)).astype(np.float32)


def _folded(model: openvino.Model) -> openvino.Model:
    """The same graph; what is computed of weights alone is computed."""
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    return model


def _is_learned_convolution(op: openvino.Node) -> bool:
    return op.get_type_name() == "Convolution" and op.input_value(1).get_node().get_type_name() == "Constant"


def _source(op: openvino.Node) -> tuple[str, int]:
    """The operation that an activation comes from, and which of its outputs it is."""
    value = op.input_value(0)
    return value.get_node().get_friendly_name(), value.get_index()

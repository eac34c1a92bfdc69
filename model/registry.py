"""Which worlds there are, and opening one by its name. Importing this loads neither torch nor any world.

Another package adds worlds by the entry point group `worldjockey.worlds`: a name, and what is called for a `World`
with `device=` and `aspect=`, or a `WorldEntry` where it has weights to be fetched (examples/world_plugin).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .weights_store import Source, home, missing

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .spec import World

GROUP = "worldjockey.worlds"


class WeightsMissing(FileNotFoundError):
    """A world's weights are not on this machine; the message says how to get them."""


class ExtraMissing(RuntimeError):
    """A world's packages are not installed; the message says how to install them."""


@dataclass(frozen=True)
class Opening:
    """What a world is opened with. root: every file of its weights is at root/<repository>/<path>."""

    name: str
    root: Path
    device: str = "auto"
    aspect: float | None = None


@dataclass(frozen=True)
class WorldEntry:
    """One world.

    open: imports what it needs when called, and makes the world. extra: of this package, "" for none. weights: what
    `wj weights get` fetches. terms: where the licence is to be read. memory: GB on the device that it plays on. rate:
    frames a second as published, with who measured it on what. rank: place in lists. devices: kinds that it is made
    for ("cuda", "mps", "cpu"); one that names none is never chosen by itself, and of the others the last in rank is
    first choice. values: parameters that it was made for, which hold unless the show says otherwise.
    """

    name: str
    open: Callable[[Opening], World]
    extra: str = ""
    weights: tuple[Source, ...] = ()
    licence: str = "Apache-2.0"
    terms: str = ""
    memory: float = 0.0
    rate: str = ""
    rank: int = 100
    package: str = "worldjockey"
    devices: tuple[str, ...] = ()
    values: Mapping[str, float | str] = field(default_factory=dict)


def _testcard(opening: Opening) -> World:
    from .testcard import TestCard

    return TestCard()


def _nano(opening: Opening) -> World:
    from .nano import Nano

    return Nano.load(device=opening.device, aspect=opening.aspect)


def _turbo(opening: Opening) -> World:
    from .turbo import Turbo

    return Turbo.load(opening.root, opening.device, opening.aspect)


def _helios(opening: Opening) -> World:
    from .helios import Helios

    return Helios.load(opening.root / HELIOS.repository, opening.device)


def _wan(opening: Opening) -> World:
    from .wan import Wan

    return Wan.load(opening.name, opening.root, opening.device, opening.aspect)


TURBO = Source(
    "stabilityai/sd-turbo",
    "b261bac6fd2cf515557d5d0707481eafa0485ec2",
    (
        "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
    ),
)  # fmt: skip
TAESD = Source(
    "madebyollin/taesd",
    "614f76814bbe30edbe2e627ace1c2234c81a2c0e",
    ("config.json", "diffusion_pytorch_model.safetensors"),
    {
        "diffusion_pytorch_model.safetensors": "db169d69145ec4ff064e49d99c95fa05d3eb04ee453de35824a6d0f325513549",
    },
)
HELIOS = Source(
    "BestWishYsh/Helios-Distilled",
    "b991c0379a018f4de3227d95468237f56066f5bb",
    ("model_index.json", "scheduler/*", "text_encoder/*", "tokenizer/*", "transformer/*", "vae/*"),
)
_WAN_TEXT = Source(
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    "0fad780a534b6463e45facd96134c9f345acfa5b",
    ("text_encoder/*", "tokenizer/*"),
)
_WAN_DECODER = Source("lightx2v/Autoencoders", "main", ("lighttaew2_1.pth",))
_SELF_FORCING = Source(
    "gdhe17/Self-Forcing",
    "2f8b779212da279d212c22a509b66ad6552f350e",
    ("checkpoints/self_forcing_dmd.pt",),
    {"checkpoints/self_forcing_dmd.pt": "a0413986d9734e02c09504e1520f5697ba6df731bb2f0f35577485e9cc8f56a3"},
)
_CAUSAL_FORCING = Source("zhuhz22/Causal-Forcing", "main", ("chunkwise/causal_forcing.pt",))
_LONGLIVE = Source("Efficient-Large-Model/LongLive-1.3B", "main", ("models/longlive_base.pt", "models/lora.pt"))

OWN = (
    WorldEntry("nano", _nano, memory=0.5, rank=0, devices=("cuda", "mps", "cpu")),
    WorldEntry("testcard", _testcard, rank=1),
    WorldEntry(
        "turbo", _turbo, "turbo", (TURBO, TAESD),
        "Stability AI Community License (free below 1 M$ of revenue a year); MIT for the decoder",
        "https://stability.ai/community-license-agreement", 4.0,
        "55-60/s at 512x512 on an RTX 4090 with TensorRT (github.com/olegchomp/TouchDiffusion)", 10,
        devices=("cuda", "mps"),
    ),
    WorldEntry(
        "wan-1.3b-self-forcing", _wan, "wan", (_SELF_FORCING, _WAN_TEXT, _WAN_DECODER), "Apache-2.0",
        "https://huggingface.co/gdhe17/Self-Forcing", 16.0, "17/s at 832x480 on an H100 (arXiv 2506.08009)", 20,
        devices=("cuda",), values={"steps": 4},
    ),
    WorldEntry(
        "wan-1.3b-causal-forcing", _wan, "wan", (_CAUSAL_FORCING, _WAN_TEXT, _WAN_DECODER), "Apache-2.0",
        "https://huggingface.co/zhuhz22/Causal-Forcing", 16.0, "", 21, devices=("cuda",), values={"steps": 4},
    ),
    WorldEntry(
        "wan-1.3b-longlive", _wan, "wan", (_LONGLIVE, _WAN_TEXT, _WAN_DECODER),
        "Apache-2.0 says its project, CC BY-NC-SA 4.0 says its model page",
        "https://huggingface.co/Efficient-Large-Model/LongLive-1.3B", 16.0,
        "20.7/s at 832x480 on an H100 (arXiv 2509.22622)", 22, devices=("cuda",), values={"steps": 4},
    ),
    WorldEntry(
        "helios", _helios, "helios", (HELIOS,), "Apache-2.0", "https://huggingface.co/BestWishYsh/Helios-Distilled",
        40.0, "19.5/s at 640x384 on an H100 (arXiv 2603.04379)", 30, devices=("cuda",),
        values={"steps": 2, "quality": "fixed"},
    ),
)  # fmt: skip


def worlds() -> dict[str, WorldEntry]:
    """Every world by name, without importing any; a package cannot take an own one's name."""
    found = {entry.name: entry for entry in sorted(OWN, key=lambda entry: entry.rank)}
    for point in _points():
        package = point.dist.name if point.dist else point.module
        entry = WorldEntry(point.name, partial(_plugin, point), licence=f"as {package} says", package=package)
        found.setdefault(point.name, entry)
    return found


def made_for(name: str) -> Mapping[str, float | str]:
    """Parameters that a world of our own was made for; of a package's nothing is known before it is opened."""
    return next((entry.values for entry in OWN if entry.name == name), {})


def _points() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # takes 30 ms, which no import of this package has to wait for

    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _plugin(point: EntryPoint, opening: Opening) -> World:
    made = point.load()
    if isinstance(made, WorldEntry):
        return _open(made, opening)
    world: World = made(device=opening.device, aspect=opening.aspect)
    return world


def entry_for(name: str) -> WorldEntry:
    """A world's row. Raises ValueError for an unknown name, with those that there are."""
    known = worlds()
    if name not in known:
        raise ValueError(f"unknown world {name!r}: there are {', '.join(known)}")
    return known[name]


def imported(name: str) -> WorldEntry:
    """A world's row with its weights, for which another package is imported. Raises what `entry_for` raises."""
    entry = entry_for(name)
    made = entry.open.args[0].load() if isinstance(entry.open, partial) else None
    return made if isinstance(made, WorldEntry) else entry


def load(name: str = "nano", *, device: str = "auto", aspect: float | None = None) -> World:
    """Open a world by name ("nano" is embedded; "testcard" needs no weights).

    device: "auto" takes CUDA, then MPS, then CPU. aspect: width over height of what it is played for; a world that
    knows several shapes takes the nearest. Raises ValueError for an unknown name, WeightsMissing when its weights
    are not there and ExtraMissing when its packages are not. Nothing is ever fetched.
    """
    return _open(entry_for(name), Opening(name, home(), device, aspect))


def _open(entry: WorldEntry, opening: Opening) -> World:
    lacking = [path for source in entry.weights for path in missing(source, opening.root)]
    if lacking:
        raise WeightsMissing(
            f"{entry.name} has no weights on this machine ({lacking[0]} is missing in {opening.root}): "
            f"wj weights get {entry.name}"
        )
    try:
        return entry.open(opening)
    except ImportError as fault:
        if entry.extra:
            fix = f"pip install 'worldjockey[{entry.extra}]'"
        elif entry.package != "worldjockey":
            fix = f"pip install --upgrade {entry.package}"
        else:
            raise
        raise ExtraMissing(f"{entry.name} lacks a package ({fault}): {fix}") from fault

"""Which worlds there are, and opening one by its name. Importing this loads neither torch nor any world.

A name may be followed by options, as in `wan-1.3b-longlive:switch=swap,decoder=full`.

Another package adds worlds by the entry point group `worldjockey.worlds`: a name, and what is called for a `World`
with `device=`, `aspect=` and its options, or a `WorldEntry` where it has weights to be fetched (examples/world_plugin).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """What a world is opened with. root: every file of its weights is at root/<repository>/<path>. options: as its
    entry lists them."""

    name: str
    root: Path
    device: str = "auto"
    aspect: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WorldEntry:
    """One world.

    open: imports what it needs when called, and makes the world. extra: of this package, "" for none. weights: what
    `wj weights get` fetches. terms: where the licence is to be read. memory: GB on the device that it plays on. rate:
    frames a second as published, with who measured it on what. rank: place in lists. devices: kinds that it is made
    for ("cuda", "mps", "cpu"); one that names none is never chosen by itself, and of the others the last in rank is
    first choice. values: parameters that it was made for, which hold unless the show says otherwise. options: what can
    be chosen as it opens, by name, the usual choice first. further: weights that a choice ("decoder=full") needs.
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
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    further: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)

    def needs(self, options: Mapping[str, str]) -> tuple[Source, ...]:
        """The weights that it takes to open it with these options."""
        return (*self.weights, *(s for k, v in options.items() for s in self.further.get(f"{k}={v}", ())))


def _testcard(opening: Opening) -> World:
    from .worlds.testcard import TestCard

    return TestCard()


def _nano(opening: Opening) -> World:
    from .nano.world import Nano

    return Nano.load(device=opening.device, aspect=opening.aspect)


def _turbo(opening: Opening) -> World:
    from .worlds.turbo import Turbo

    return Turbo.load(opening.root, opening.device, opening.aspect)


def _helios(opening: Opening) -> World:
    from .worlds.helios.world import Helios

    return Helios.load(opening.root / HELIOS.repository, opening.device)


def _wan(opening: Opening) -> World:
    from .worlds.wan.world import Wan

    options: Mapping[str, Any] = opening.options
    return Wan.load(opening.name, opening.root, opening.device, opening.aspect, **options)


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
_WAN_DECODER = Source(
    "lightx2v/Autoencoders",
    "main",
    ("lighttaew2_1.pth",),
    {"lighttaew2_1.pth": "7c55c7d6b8eb3d24c7daca1295dea803fb847411e2c67bceecbb286f4dfdbef5"},
)
_WAN_FULL_DECODER = Source(
    "Wan-AI/Wan2.1-T2V-1.3B",
    "37ec512624d61f7aa208f7ea8140a131f93afc9a",
    ("Wan2.1_VAE.pth",),
    {"Wan2.1_VAE.pth": "38071ab59bd94681c686fa51d75a1968f64e470262043be31f7a094e442fd981"},
)
_SELF_FORCING = Source(
    "gdhe17/Self-Forcing",
    "2f8b779212da279d212c22a509b66ad6552f350e",
    ("checkpoints/self_forcing_dmd.pt",),
    {"checkpoints/self_forcing_dmd.pt": "a0413986d9734e02c09504e1520f5697ba6df731bb2f0f35577485e9cc8f56a3"},
)
_CAUSAL_FORCING = Source(
    "zhuhz22/Causal-Forcing",
    "2f8eb8bb6eeb1238da9d13e5420d342a74d634a6",
    ("chunkwise/causal_forcing.pt",),
    {"chunkwise/causal_forcing.pt": "cf75ee5cc6f4e2e336c59c973f5544655d8f0aa481761efe6de1b9cb2eb0cd9d"},
)
_LONGLIVE = Source(
    "Efficient-Large-Model/LongLive-1.3B",
    "cda9138d93872ef109d9a74c270184eb3a5acc6e",
    ("models/longlive_base.pt", "models/lora.pt"),
    {
        "models/longlive_base.pt": "10a2aa8fcf89c77d9033f4c117405412a690e289625766619d293f0c5a208ee7",
        "models/lora.pt": "c4e43b87d62d4b0614b496773639f1ab170a7ee486dc23407901e9d3a5ebc07a",
    },
)


def _family(name: str, network: Source, licence: str, rate: str, rank: int, switch: str = "swap") -> WorldEntry:
    """A member of the causal Wan family. switch: what it was trained to do with its past at a new prompt."""
    return WorldEntry(
        name, _wan, "wan", (network, _WAN_TEXT, _WAN_DECODER), licence,
        f"https://huggingface.co/{network.repository}", 24.0, rate, rank, devices=("cuda",), values={"steps": 4},
        options={"switch": (switch, "recache" if switch == "swap" else "swap"), "decoder": ("tiny", "full")},
        further={"decoder=full": (_WAN_FULL_DECODER,)},
    )  # fmt: skip


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
    _family(
        "wan-1.3b-self-forcing", _SELF_FORCING,
        "Apache-2.0 says its project since September 2025, CC BY-NC-SA 4.0 has stood on its model page",
        "17/s at 832x480 on an H100 (arXiv 2506.08009)", 20,
    ),
    _family(
        "wan-1.3b-causal-forcing", _CAUSAL_FORCING, "Apache-2.0",
        "as fast as Self-Forcing, say its authors (arXiv 2602.02214)", 21,
    ),
    _family(
        "wan-1.3b-longlive", _LONGLIVE,
        "Apache-2.0 says its project since November 2025, CC BY-NC-SA 4.0 says its model page",
        "20.7/s at 832x480 on an H100 (arXiv 2509.22622)", 22, "recache",
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


def parted(model: str) -> tuple[str, dict[str, str]]:
    """ "wan-1.3b-longlive:switch=swap,decoder=full" -> its name, and its options. Raises ValueError for anything else
    behind the colon."""
    name, _, said = model.partition(":")
    options: dict[str, str] = {}
    for part in said.split(",") if said else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise ValueError(
                f"{model!r}: after a world's name come its options, as in {name}:option=choice,other=choice"
            )
        options[key] = value
    return name.strip(), options


def made_for(name: str) -> Mapping[str, float | str]:
    """Parameters that a world of our own was made for; of a package's nothing is known before it is opened."""
    return next((entry.values for entry in OWN if entry.name == name.partition(":")[0].strip()), {})


def _points() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # takes 30 ms, which no import of this package has to wait for

    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _plugin(point: EntryPoint, opening: Opening) -> World:
    made = point.load()
    if isinstance(made, WorldEntry):
        return _open(made, opening)
    world: World = made(device=opening.device, aspect=opening.aspect, **opening.options)
    return world


def entry_for(name: str) -> WorldEntry:
    """A world's row; options behind its name are not looked at. Raises ValueError for an unknown name, with those that
    there are."""
    known, name = worlds(), name.partition(":")[0].strip()
    if name not in known:
        raise ValueError(f"unknown world {name!r}: there are {', '.join(known)}")
    return known[name]


def imported(name: str) -> WorldEntry:
    """A world's row with its weights, for which another package is imported. Raises what `entry_for` raises."""
    entry = entry_for(name)
    made = entry.open.args[0].load() if isinstance(entry.open, partial) else None
    return made if isinstance(made, WorldEntry) else entry


def load(name: str = "nano", *, device: str = "auto", aspect: float | None = None) -> World:
    """Open a world by name ("nano" is embedded; "testcard" needs no weights), perhaps with options.

    device: "auto" takes CUDA, then MPS, then CPU. aspect: width over height of what it is played for; a world that
    knows several shapes takes the nearest. Raises ValueError for an unknown name or option, WeightsMissing when its
    weights are not there and ExtraMissing when its packages are not. Nothing is ever fetched.
    """
    entry, (name, options) = entry_for(name), parted(name)
    return _open(entry, Opening(name, home(), device, aspect, options))


def check_options(entry: WorldEntry, options: Mapping[str, str]) -> None:
    """Raises ValueError, with what there is, for an option or choice that a world does not have."""
    there = "; ".join(f"{name}={' or '.join(choices)}" for name, choices in entry.options.items())
    for name, choice in options.items():
        if choice not in entry.options.get(name, ()):
            raise ValueError(f"{entry.name} has no option {name}={choice}: it has {there or 'none'}")


def check(model: str) -> None:
    """Raises ValueError for a name or option that no world has, before anything is opened; a package's world checks its
    own options."""
    entry = entry_for(model)
    if not isinstance(entry.open, partial):
        check_options(entry, parted(model)[1])


def _open(entry: WorldEntry, opening: Opening) -> World:
    if not isinstance(entry.open, partial):
        check_options(entry, opening.options)
    lacking = [path for source in entry.needs(opening.options) for path in missing(source, opening.root)]
    if lacking:
        chosen = ",".join(f"{k}={v}" for k, v in opening.options.items() if f"{k}={v}" in entry.further)
        raise WeightsMissing(
            f"{entry.name} has no weights on this machine ({lacking[0]} is missing in {opening.root}): "
            f"wj weights get {entry.name}{f':{chosen}' if chosen else ''}"
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

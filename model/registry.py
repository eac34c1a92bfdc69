"""The worlds that can be played, and opening one by its name. Importing this loads neither torch nor any world.

A name may be followed by options, as in `wan-1.3b-longlive:switch=swap,decoder=full`.

Another package adds worlds by the entry point group `worldjockey.worlds`. An entry point is a callable that takes
`device=`, `aspect=` and the options and returns a `World`, or a `WorldEntry` for a world with weights
(examples/world_plugin).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ExtraMissing, WeightsMissing
from .nano.runtime_names import LARGE, RUNTIMES, SIZES, SMALL
from .spec import ACTS
from .stage.vocabulary import ATTRIBUTES
from .weights_store import Source, commit, home, missing
from .worlds import sources
from .worlds.ltx.sizes import SIZES as LTX_SIZES
from .worlds.wan.config import CONFIGS, network_bytes
from .worlds.wan.config import LARGE as LARGE_WAN

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .nano.world import Nano
    from .spec import World

logger = logging.getLogger(__name__)

GROUP = "worldjockey.worlds"
OVER = "over"  # the option with which a world paints over another
FRAME_TIMES = ("0ms", "20ms", "40ms", "80ms", "200ms")  # that the test card can take for a frame
LIVE = "live"  # its choice for the live picture itself


@dataclass(frozen=True)
class Opening:
    """The arguments with which a world is opened. root: each weight file is at root/<repository>/<path>. options: those
    of its entry."""

    name: str
    root: Path
    device: str = "auto"
    aspect: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WorldEntry:
    """One world.

    open: a function that imports the packages it needs and makes the world. extra: this package's extra that installs
    them, "" for none. weights: the files that `wj weights get` fetches. terms: the licence's address. memory: GB on the
    device. rate: frames a second as published, with the source. rank: position in lists. devices: the kinds it supports
    ("cuda", "mps", "cpu"); a world without any is never chosen automatically, and among the others the highest rank is
    tried first. note: what a performer should know before choosing it. family: worlds of one network are as fast as one
    another. values: parameters for which it was trained; a show's own values override them. options: choices by name,
    the default first. further: weights that one choice ("decoder=full") needs. offline: the choices that are best where
    no frame has to be in time. attributes: what its prompts can say, by attribute, and its acts. embedded: the weight
    files that come with the package. torch: whether it computes with torch, whose import takes seconds. paints: whether
    it can paint over another world, or over the live picture: with the option over=<that world> or over=live. sounds:
    the choices with which it makes sound ("sound=beep"); "" for one that always does.
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
    note: str = ""
    family: str = ""
    package: str = "worldjockey"
    devices: tuple[str, ...] = ()
    values: Mapping[str, float | str] = field(default_factory=dict)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    further: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)
    offline: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    embedded: tuple[Path, ...] = ()
    torch: bool = True
    paints: bool = False
    sounds: tuple[str, ...] = ()

    def needs(self, options: Mapping[str, str]) -> tuple[Source, ...]:
        """The weights needed to open it with these options."""
        return (*self.weights, *(s for k, v in options.items() for s in self.further.get(f"{k}={v}", ())))


def _testcard(opening: Opening) -> World:
    from .worlds.testcard import TestCard

    options = opening.options
    return TestCard(options.get("sound") == "beep", float(options.get("frame", "0ms").removesuffix("ms")) / 1e3)


def _nano(opening: Opening) -> World:
    from .devices import open_on_first
    from .nano.world import Nano

    return open_on_first(opening.device, partial(_load_nano, opening), Nano.check)


def _load_nano(opening: Opening, device: str) -> Nano:
    from .nano.world import Nano

    runtime, size = (opening.options.get(option, "auto") for option in ("runtime", "size"))
    return Nano.load(device=device, aspect=opening.aspect, runtime=runtime, size=size)


def _turbo(opening: Opening) -> World:
    from .worlds.turbo import Turbo

    return Turbo.load(opening.root, opening.device, opening.aspect, opening.options.get("control", "none"))


def _klein(opening: Opening) -> World:
    from .worlds.klein import Klein

    return Klein.load(opening.root / sources.KLEIN.repository, opening.device, opening.aspect)


def _helios(opening: Opening) -> World:
    from .worlds.helios.world import Helios

    return Helios.load(opening.root / sources.HELIOS.repository, opening.device)


def _ltx(opening: Opening) -> World:
    from .worlds.ltx.world import LTX2

    size = opening.options.get("size", next(iter(LTX_SIZES)))
    return LTX2.load(opening.root / sources.LTX.repository, opening.device, size)


def _wan(opening: Opening) -> World:
    from .worlds.wan.world import Wan

    options: Mapping[str, Any] = opening.options
    return Wan.load(opening.name, opening.root, opening.device, opening.aspect, **options)


MADE_FOR_5S = "trained on clips of 5 s, and drifts when it plays for longer; LongLive does not"


def _family(
    name: str, network: Source, licence: str, rate: str, rank: int, switch: str = "swap", note: str = MADE_FOR_5S
) -> WorldEntry:
    """A member of the causal Wan family. switch: how it was trained to treat its cache at a new prompt."""
    memory = round(network_bytes(CONFIGS[name], LARGE_WAN[0]) / 1e9, 1)
    return WorldEntry(
        name, _wan, "wan", (network, sources.WAN_TEXT, sources.WAN_DECODER), licence,
        f"https://huggingface.co/{network.repository}", memory, rate, rank, devices=("cuda",), values={"steps": 4},
        options={"switch": (switch, "recache" if switch == "swap" else "swap"), "decoder": ("tiny", "full"),
                 "size": SIZES},
        further={"decoder=full": (sources.WAN_FULL_DECODER,)}, note=note, family="wan-1.3b",
    )  # fmt: skip


BUILTIN_WORLDS = (
    WorldEntry(
        "nano", _nano, memory=0.5, rank=0, devices=("cuda", "mps", "cpu"),
        options={"runtime": RUNTIMES, "size": SIZES}, offline={"size": LARGE}, attributes={**ATTRIBUTES, "act": ACTS},
        embedded=(Path(__file__).parent / "weights" / "nano.safetensors",),
    ),
    WorldEntry(
        "testcard", _testcard, rank=1, options={"sound": ("off", "beep"), "frame": FRAME_TIMES},
        attributes={"act": ACTS}, torch=False, sounds=("sound=beep",),
    ),
    WorldEntry(
        "turbo", _turbo, "turbo", (sources.TURBO, sources.TAESD),
        "Stability AI Community License (free below 1 M$ of revenue a year); MIT for the decoder; control=depth has "
        "terms of its own (huggingface.co/thibaud/controlnet-sd21-depth-diffusers)",
        "https://stability.ai/community-license-agreement", 4.0,
        "55-60/s at 512x512 on an RTX 4090 with TensorRT (github.com/olegchomp/TouchDiffusion)", 10,
        devices=("cuda", "mps"), paints=True, options={"control": ("none", "depth")},
        further={"control=depth": (sources.TURBO_DEPTH,)},
    ),
    WorldEntry(
        "klein", _klein, "turbo", (sources.KLEIN,), "Apache-2.0",
        "https://huggingface.co/black-forest-labs/FLUX.2-klein-4B", 12.0,
        "about 20/s at 512x512 with in-betweens on an RTX 5090 (github.com/tensorforger/FluxRT)", 9,
        devices=("cuda",), paints=True,
    ),
    _family(
        "wan-1.3b-self-forcing", sources.SELF_FORCING,
        "Apache-2.0 by its project since September 2025; its model page has named CC BY-NC-SA 4.0",
        "17/s at 832x480 on an H100 (arXiv 2506.08009)", 20,
    ),
    _family(
        "wan-1.3b-causal-forcing", sources.CAUSAL_FORCING, "Apache-2.0",
        "as fast as Self-Forcing by its authors (arXiv 2602.02214)", 21,
    ),
    _family(
        "wan-1.3b-longlive", sources.LONGLIVE,
        "Apache-2.0 by its project since November 2025; its model page names CC BY-NC-SA 4.0",
        "20.7/s at 832x480 on an H100 (arXiv 2509.22622)", 22, "recache", "trained on clips of up to a minute",
    ),
    WorldEntry(
        "helios", _helios, "helios", (sources.HELIOS,), "Apache-2.0", "https://huggingface.co/BestWishYsh/Helios-Distilled",
        40.0, "19.5/s at 640x384 on an H100 (arXiv 2603.04379)", 30, devices=("cuda",),
        values={"steps": 2, "quality": "fixed"},
    ),
    WorldEntry(
        "ltx-2", _ltx, "ltx", (sources.LTX,),
        "LTX-2 Community License (free below 10 M$ of revenue a year; forbids, among other uses, to show the pictures "
        "without saying that a machine made them, military use, and products that compete with Lightricks')",
        "https://github.com/Lightricks/LTX-2/blob/main/LICENSE-2", 56.0,
        "5 s at 1920x1080 in 4.5 s on one B200 by FastVideo, which is not used here "
        "(haoailab.com/blogs/fastvideo_realtime_1080p)", 29, devices=("cuda",),
        values={"steps": 4, "quality": "fixed"}, options={"size": tuple(LTX_SIZES)}, sounds=("",),
        note="it makes its own sound; a prompt takes effect after a second of its own time and the time of a chunk",
    ),
)  # fmt: skip


def worlds() -> dict[str, WorldEntry]:
    """Every world by name, without importing any. A package cannot replace a built-in world."""
    found = {entry.name: entry for entry in sorted(BUILTIN_WORLDS, key=lambda entry: entry.rank)}
    for point in _points():
        package = point.dist.name if point.dist else point.module
        entry = WorldEntry(point.name, partial(_plugin, point), licence=f"see {package}", package=package)
        found.setdefault(point.name, entry)
    return found


def split_options(model: str) -> tuple[str, dict[str, str]]:
    """ "wan-1.3b-longlive:switch=swap,decoder=full" -> its name, and its options. Raises ValueError for anything else
    behind the colon."""
    name, colon, listed = model.partition(":")
    options: dict[str, str] = {}
    for part in listed.split(",") if colon else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise ValueError(
                f"{model!r}: after a world's name come its options, as in {name}:option=choice,other=choice"
            )
        if key in options:
            raise ValueError(f"{model!r}: the option {key} stands there twice")
        options[key] = value
    return name.strip(), options


def with_option(model: str, option: str, choice: str) -> str:
    """A world's name with one more option behind it, in place of another choice of the same. Raises ValueError as
    `split_options` does."""
    name, options = split_options(model)
    return f"{name}:" + ",".join(f"{k}={v}" for k, v in {**options, option: choice}.items())


def offline(model: str) -> str:
    """A world's name with the options that are best where no frame has to be in time, beside those that it has."""
    entry, (_, options) = _builtin(model), split_options(model)
    for option, choice in entry.offline.items() if entry else ():
        if option not in options:
            model = with_option(model, option, choice)
    return model


def _builtin(model: str) -> WorldEntry | None:
    """The entry of a built-in world; None for a package's, which is not imported."""
    name = model.partition(":")[0].strip()
    return next((entry for entry in BUILTIN_WORLDS if entry.name == name), None)


def preset_values(name: str) -> Mapping[str, float | str]:
    """The parameters for which a built-in world was trained; none for a package's world, which is not imported here."""
    entry = _builtin(name)
    return entry.values if entry else {}


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
    """The entry of a world; options behind its name are ignored. Raises ValueError, with the known names, for any
    other."""
    known, name = worlds(), name.partition(":")[0].strip()
    if name not in known:
        raise ValueError(f"unknown world {name!r}: there are {', '.join(known)}")
    return known[name]


def imported(name: str) -> WorldEntry:
    """The entry of a world with its weights; imports another package for it. Raises ValueError as `entry_for` does."""
    entry = entry_for(name)
    made = entry.open.args[0].load() if isinstance(entry.open, partial) else None
    return made if isinstance(made, WorldEntry) else entry


def load(name: str = "nano", *, device: str = "auto", aspect: float | None = None) -> World:
    """Open a world by name ("nano" is embedded; "testcard" needs no weights), perhaps with options.

    device: "auto" takes CUDA, then MPS, then CPU. aspect: width over height of the show; a world with several shapes
    takes the nearest. Raises ValueError for an unknown name or option, WeightsMissing for missing weights and
    ExtraMissing for missing packages. Nothing is ever downloaded.
    """
    entry, (name, options) = entry_for(name), split_options(name)
    return _open(entry, Opening(name, home(), device, aspect, options))


def sounds(model: str) -> bool:
    """Whether a built-in world makes sound of its own; False for a package's, which is not imported here."""
    entry = _builtin(model)
    chosen = {"", *(f"{option}={choice}" for option, choice in split_options(model)[1].items())}
    return entry is not None and bool(chosen & set(entry.sounds))


def driver_of(model: str) -> str:
    """The world over which another paints ("turbo:over=nano" -> "nano"); empty where it does not."""
    return split_options(model)[1].get(OVER, "")


def auto_device() -> str:
    """The kind of device that "auto" takes for most worlds: the fastest that computes with this torch. Loads torch."""
    from .devices import choose_device

    return choose_device("auto").type


def attributes_of(model: str) -> Mapping[str, tuple[str, ...]]:
    """What a world's prompts can say, by attribute, and its acts; empty for a world of another package, which is not
    imported here, and for one whose prompts are free."""
    entry = _builtin(driver_of(model) or model)
    return entry.attributes if entry else {}


def lightest(model: str) -> str:
    """The same world in its smallest size, where it has several; its state and its prompts are those of the others."""
    entry = _builtin(model)
    return with_option(model, "size", SMALL) if entry and SMALL in entry.options.get("size", ()) else model


def weights_digest(model: str) -> str:
    """Changes whenever the weights of a world do, or its options. Reads embedded files, and of others their commits.
    Raises ValueError for an unknown world, and OSError for a file that cannot be read."""
    entry, (name, options) = entry_for(model), split_options(model)
    digest = hashlib.sha256(repr((name, sorted(options.items()), entry.package)).encode())
    for path in entry.embedded:
        digest.update(path.read_bytes())
    for source in entry.needs(options):
        digest.update(f"{source.repository} {commit(source, home())}".encode())
    return digest.hexdigest()


def check_options(entry: WorldEntry, options: Mapping[str, str]) -> None:
    """Raises ValueError, with the possible choices, for an option or choice that a world does not have."""
    offered = {
        **entry.options,
        **({OVER: (*(name for name in worlds() if name != entry.name), LIVE)} if entry.paints else {}),
    }
    there = "; ".join(f"{name}={' or '.join(choices)}" for name, choices in offered.items())
    for name, choice in options.items():
        if choice not in offered.get(name, ()):
            raise ValueError(f"{entry.name} has no option {name}={choice}: it has {there or 'none'}")


def check(model: str) -> None:
    """Raises ValueError for an unknown world or option, before anything is opened. A package's world checks its own
    options."""
    entry = entry_for(model)
    if not isinstance(entry.open, partial):
        check_options(entry, split_options(model)[1])


def _painted(driver: str, painter: World, opening: Opening) -> World:
    """A painter over the world of that name, or over the live picture."""
    from .painting.live_picture import LivePicture
    from .painting.painted import Painted

    if driver == LIVE:
        return Painted(LivePicture(), painter)
    return Painted(load(lightest(driver), device=opening.device, aspect=opening.aspect), painter)


def _open(entry: WorldEntry, opening: Opening) -> World:
    if not isinstance(entry.open, partial):
        check_options(entry, opening.options)
    gone = [path for source in entry.needs(opening.options) for path in missing(source, opening.root)]
    if gone:
        chosen = ",".join(f"{k}={v}" for k, v in opening.options.items() if f"{k}={v}" in entry.further)
        raise WeightsMissing(
            f"{entry.name} has no weights on this machine ({gone[0]} is missing in {opening.root}): "
            f"wj weights get {entry.name}{f':{chosen}' if chosen else ''}"
        )
    driver = opening.options.get(OVER, "")
    if driver:
        rest = {name: choice for name, choice in opening.options.items() if name != OVER}
        return _painted(driver, _open(entry, replace(opening, options=rest)), opening)
    logger.info("opening %s from %s on device %s", opening.name, entry.package, opening.device)
    try:
        return entry.open(opening)
    except ImportError as error:
        if entry.extra:
            fix = f"pip install 'worldjockey[{entry.extra}]'"
        elif entry.package != "worldjockey":
            fix = f"pip install --upgrade {entry.package}"
        else:
            raise
        raise ExtraMissing(f"{entry.name} needs a package that is not installed ({error}): {fix}") from error

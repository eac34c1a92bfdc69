"""The embedded world: a trained network of a few million parameters that plays on two CPU cores."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import WeightsMissing
from .autoencoder import Autoencoder, AutoencoderConfig
from .sampler import sample
from .spec import ACTS, Array, Controls, Prompt, Tokens, WorldSpec, WorldState
from .stage.motion import Motion
from .stage.sample import DT_MAX, DT_MIN
from .stage.scene import SEED_DIM, Scene
from .stage.vocabulary import ATTRIBUTES, FIGURES
from .text import TextConfig, TextEncoder
from .transformer import Conditions, Past, WorldConfig, WorldModel

WEIGHTS = Path(__file__).parent / "weights" / "nano.safetensors"
SETTLE = 0.2  # seconds in which what a prompt says becomes what the world remembers
OPENING = {"place": "sea", "light": "sunset", "weather": "clear", "figure": "dance", "tint": "plain"}


def choose_device(wanted: str) -> torch.device:
    """ "auto" takes CUDA, then MPS, then CPU. Raises ValueError where the machine has no such device."""
    if wanted == "auto":
        mps = getattr(torch.backends, "mps", None)
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps and mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as fault:
        raise ValueError(f"no device {wanted!r} on this machine ({fault}); try --device auto") from None
    return device


class Nano:
    """A `World`. Make one with `Nano.load`."""

    def __init__(self, text: TextEncoder, autoencoder: Autoencoder, world: WorldModel, mean: Tensor, std: Tensor,
                 device: torch.device) -> None:  # fmt: skip
        self.device = device
        form = torch.channels_last
        self.text = text.eval()
        self.autoencoder = autoencoder.eval().to(device, memory_format=form)  # type: ignore[call-overload]
        self.world = world.eval().to(device, memory_format=form)  # type: ignore[call-overload]
        self.mean, self.std = mean.view(1, -1, 1, 1).to(device), std.view(1, -1, 1, 1).to(device)
        c, f = world.config, autoencoder.config.factor
        self._spec = WorldSpec("nano", c.columns * f, c.rows * f, 20.0, 1, ACTS, ("text", "action"), str(device))
        self.timings: dict[str, float] = {}
        self.reset(0)

    @property
    def spec(self) -> WorldSpec:
        return self._spec

    @classmethod
    def load(cls, path: Path = WEIGHTS, device: str = "auto") -> Nano:
        """Raises WeightsMissing where the file is not there, ValueError where it is not a nano's."""
        if not path.exists():
            raise WeightsMissing(f"{path} is missing: reinstall worldjockey, or train one with `wj train`")
        chosen = choose_device(device)
        try:
            with safe_open(path, "pt") as f:
                about = json.loads((f.metadata() or {})["worldjockey"])
                tensors = {k: f.get_tensor(k).float() for k in f.keys()}  # noqa: SIM118 (not a dict)
        except Exception as fault:
            raise ValueError(f"{path} is not a nano's weights ({fault}): reinstall worldjockey") from fault
        text = TextEncoder(TextConfig(**about["text"]))
        autoencoder = Autoencoder(AutoencoderConfig(**{k: _tuple(v) for k, v in about["autoencoder"].items()}))
        world = WorldModel(WorldConfig(**{k: _tuple(v) for k, v in about["world"].items()}))
        for name, module in (("text", text), ("autoencoder", autoencoder), ("world", world)):
            part = {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
            module.load_state_dict(part)
        return cls(text, autoencoder, world, tensors["mean"], tensors["std"], chosen)

    def save(self, path: Path) -> None:
        """fp16 safetensors, the configurations in its header."""
        tensors = {"mean": self.mean.flatten(), "std": self.std.flatten()}
        parts: dict[str, Any] = {"text": self.text, "autoencoder": self.autoencoder, "world": self.world}
        for name, module in parts.items():
            tensors |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
        about = {name: asdict(module.config) for name, module in parts.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().half().contiguous() for k, v in tensors.items()}, path,
                  metadata={"worldjockey": json.dumps(about)})  # fmt: skip

    def encode(self, prompt: Prompt) -> Tokens:
        """values (5, 8): how much of each value of place, light, weather, figure and tint the prompt asks for."""
        return self.text.encode(prompt.text)

    def reset(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shape = rng.uniform(-1, 1, SEED_DIM).astype(np.float32) if seed else np.zeros(SEED_DIM, np.float32)
        figure = np.eye(len(FIGURES), dtype=np.float32)[FIGURES.index(OPENING["figure"])]
        self.motion = Motion(seed=shape, figure=figure)
        self.look = [np.eye(8, dtype=np.float32)[values.index(OPENING[k])] for k, values in ATTRIBUTES.items()]
        self.noise = torch.Generator().manual_seed(seed)
        self.past = Past(self.world.config.window)
        self.last: Tensor | None = None

    def _remember(self, tokens: Array, dt: float) -> list[Array]:
        """What each attribute is now: what the prompt says of it, and for the rest what the world was."""
        now = []
        for i, row in enumerate(np.maximum(tokens, 0)):
            said = min(float(row.sum()), 1.0)
            asked = row / max(float(row.sum()), 1e-6)
            now.append((said * asked + (1 - said) * self.look[i]).astype(np.float32))
            self.look[i] = self.look[i] + (asked - self.look[i]) * min(1.0, dt / SETTLE) * said**2
        return now

    @torch.inference_mode()
    def step(self, controls: Controls) -> Tensor:
        begin = time.perf_counter()
        look = self._remember(controls.tokens, controls.dt)
        names = list(ATTRIBUTES)
        said = look[names.index("figure")][: len(FIGURES)]
        self.motion.advance(controls.dt, controls.camera, controls.acts, said)
        m = self.motion
        numbers = {k: getattr(m, k) for k in ("phase", "time", "yaw", "x", "z", "pitch", "zoom")}
        rows = {k: torch.from_numpy(look[i][: len(v)])[None] for i, (k, v) in enumerate(ATTRIBUTES.items())}
        rows["figure"] = torch.from_numpy(m.figure)[None]
        scene = Scene(
            **rows, **{k: torch.tensor([v], dtype=torch.float32) for k, v in numbers.items()},
            energy=torch.tensor([controls.energy], dtype=torch.float32), seed=torch.from_numpy(m.seed)[None],
        )  # fmt: skip
        conditions = Conditions.from_flat(
            Conditions.of(scene, min(max(controls.dt, DT_MIN), DT_MAX)).flat()[None].to(self.device)
        )
        c = self.world.config
        noise = torch.randn(1, 1, c.channels, c.rows, c.columns, generator=self.noise).to(self.device)
        carried = self.last if c.carry else None
        known = torch.full((1, 1), float(carried is not None), device=self.device)
        last = torch.zeros_like(noise) if carried is None else carried

        def predict(noisy: Tensor, level: float) -> Tensor:
            return self.world(noisy, last, torch.full((1, 1), level, device=self.device), known, conditions, self.past)

        self.last = sample(predict, noise, controls.steps)
        self.past.keep()
        made = time.perf_counter()
        latent = (self.last[0] * self.std + self.mean).contiguous(memory_format=torch.channels_last)
        image = self.autoencoder.decode(latent)
        frame = (image.clamp_(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        self.timings = {"step_ms": (made - begin) * 1e3, "decode_ms": (time.perf_counter() - made) * 1e3}
        return frame

    def snapshot(self) -> WorldState:
        return WorldState({
            "motion": replace(self.motion, figure=self.motion.figure.copy()), "look": list(self.look),
            "noise": self.noise.get_state(), "past": self.past.copy(), "last": self.last,
        })  # fmt: skip

    def restore(self, state: WorldState) -> None:
        d = state.data
        self.motion = replace(d["motion"])
        self.look, self.last, self.past = list(d["look"]), d["last"], d["past"].copy()
        self.noise.set_state(d["noise"])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

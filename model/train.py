"""`wj train`: from nothing to a playable world, in stages that checkpoint and resume."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

STAGES = ("text", "autoencoder", "probe", "world")


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and trains; returns the exit code."""
    from .recipes import RECIPES

    parser = argparse.ArgumentParser("wj train", description=__doc__)
    parser.add_argument("--config", default="nano", choices=sorted(RECIPES), help="which size (default: nano)")
    parser.add_argument("--folder", type=Path, help="checkpoints and stage data (default: runs/CONFIG)")
    parser.add_argument("--out", type=Path, help="where the weights go (default: FOLDER/CONFIG.safetensors)")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage (repeatable; default: all)")
    parser.add_argument(
        "--workers", type=int, default=max(1, os.cpu_count() or 1), help="processes that draw the stage"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    folder = args.folder or Path("runs") / args.config
    out = args.out or folder / f"{args.config}.safetensors"
    try:
        train(args.config, folder, out, tuple(args.stage or STAGES), args.workers, args.seed)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from the last checkpoint in {folder}")
        return 130
    return 0


def train(config: str, folder: Path, out: Path, stages: tuple[str, ...], workers: int, seed: int) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from . import probe, text, train_autoencoder, train_world
    from .autoencoder import Autoencoder
    from .nano import Nano
    from .recipes import RECIPES
    from .text import TextEncoder

    r = RECIPES[config]
    folder.mkdir(parents=True, exist_ok=True)
    shape = (r.height, r.width)
    text_file = folder / "text.safetensors"
    if "text" in stages and not text_file.exists():
        encoder = text.train(r.text_steps, seed=seed, config=r.text)
        save_file(encoder.state_dict(), text_file)
        print("text, held-out paraphrases:", json.dumps(text.accuracy(encoder)), flush=True)
    if "autoencoder" in stages:
        train_autoencoder.train(
            folder, r.autoencoder, steps=r.autoencoder_steps, count=r.pictures, shape=shape, workers=workers, seed=seed
        )
    if "probe" in stages:
        figures = probe.train(
            folder, folder / "probe.safetensors", steps=r.probe_steps, count=r.pictures, shape=shape, workers=workers
        )
        print("probe:", json.dumps(figures), flush=True)
    if "world" in stages:
        world, mean, std = train_world.train(
            folder, r.world, r.autoencoder, steps=r.world_steps, count=r.sequences, frames=r.frames, batch=r.batch,
            shape=shape, workers=workers, seed=seed,
        )  # fmt: skip
        encoder = TextEncoder(r.text)
        encoder.load_state_dict(load_file(text_file))
        autoencoder = Autoencoder(r.autoencoder)
        saved = torch.load(folder / "autoencoder.pt", weights_only=True)
        autoencoder.load_state_dict(saved["state"]["model"])
        Nano(encoder, autoencoder, world, mean, std, torch.device("cpu")).save(out)
        print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)", flush=True)

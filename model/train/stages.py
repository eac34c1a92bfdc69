"""The command `wj train`: the stages of training and their order."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..nano.world import Nano
    from .recipes import Recipe

CURVES = {"autoencoder": ("loss", "psnr"), "world": ("loss", "first", "later"), "finish": ("psnr", "edges"),
          "large": ("loss", "psnr", "played")}  # fmt: skip
STAGES = ("text", "autoencoder", "probe", "world", "reader", "finish", "large")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and train; returns the exit code."""
    from .recipes import RECIPES

    parser = argparse.ArgumentParser(
        "wj train",
        description="Train a playable world from nothing, in stages that save checkpoints and resume from them.",
    )
    parser.add_argument("--config", default="nano", choices=sorted(RECIPES), help="size of the world (default: nano)")
    parser.add_argument("--folder", type=Path, help="folder for checkpoints and training data (default: runs/CONFIG)")
    parser.add_argument("--out", type=Path, help="file for the weights (default: FOLDER/CONFIG.safetensors)")
    parser.add_argument(
        "--stage", choices=STAGES, action="append", help="run only this stage (repeatable; default: all)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, os.cpu_count() or 1),
        help="processes that render training frames (default: the CPU's cores)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of data order and weights (default: 0)")
    args = parser.parse_args(argv)
    folder = args.folder or Path("runs") / args.config
    out = args.out or folder / f"{args.config}.safetensors"
    try:
        train(args.config, folder, out, tuple(args.stage or STAGES), args.workers, args.seed)
    except KeyboardInterrupt:
        print(f"\nStopped. Run the same command again to resume from the last checkpoint in {folder}.")
        return 130
    return 0


def train(config: str, folder: Path, out: Path, stages: tuple[str, ...], workers: int, seed: int) -> None:
    from safetensors.torch import load_file, save_file

    from ..evaluate.metrics import caption_accuracy
    from ..nano.world import LARGE_SUFFIX, Nano
    from . import adversarial, fsdp, guided_decoder, image_reader, probe, text_encoder
    from . import autoencoder as train_autoencoder
    from . import world as train_world
    from .clips import stage_clips
    from .recipes import RECIPES
    from .run import plot

    r = RECIPES[config]
    folder.mkdir(parents=True, exist_ok=True)
    shape = (r.height, r.width)
    text_file = folder / "text.safetensors"
    team = fsdp.join()
    if not team.leads:  # one process renders and trains the small stages; all train the world
        stages = tuple(s for s in stages if s == "world")
    if "world" not in stages:
        fsdp.leave()
    if "text" in stages and not text_file.exists():
        encoder = text_encoder.train(r.text_steps, seed=seed, config=r.text)
        save_file(encoder.state_dict(), text_file)
        print("text, held-out paraphrases:", json.dumps(caption_accuracy(encoder)), flush=True)
    if "autoencoder" in stages:
        train_autoencoder.train(
            folder, r.autoencoder, steps=r.autoencoder_steps, count=r.images, shape=shape, workers=workers, seed=seed
        )
    if "probe" in stages:
        figures = probe.train(
            folder, folder / "probe.safetensors", steps=r.probe_steps, count=r.images, shape=shape, workers=workers
        )
        print("probe:", json.dumps(figures), flush=True)
    if "world" in stages:
        team.wait()
        world, mean, std = train_world.train(
            folder, r.world, r.autoencoder, steps=r.world_steps, count=r.sequences, frames=r.frames, shape=shape,
            batch=r.batch, workers=workers, seed=seed, team=team,
        )  # fmt: skip
        fsdp.leave()
        if not team.leads:
            return
        save_file({"mean": mean, "std": std}, folder / "scale.safetensors")
        save_file({k: v.cpu().contiguous() for k, v in world.items()}, folder / "world.safetensors")
    if "reader" in stages:
        scale = load_file(folder / "scale.safetensors")
        clips = stage_clips(folder, r.sequences, r.frames, shape, r.autoencoder, workers)[0]
        figures = image_reader.train(clips, scale["mean"], scale["std"], folder / "reader.safetensors",
                               steps=r.reader_steps, held=min(100, len(clips) // 4), seed=seed)  # fmt: skip
        print("reader:", json.dumps(figures), flush=True)
    if "finish" in stages:
        (folder / "finish.safetensors").unlink(missing_ok=True)  # the world is assembled without an earlier finish
        assemble(folder, r).save(folder / "unfinished.safetensors")
        tail = adversarial.train(folder, folder / "unfinished.safetensors", steps=r.finish_steps, count=r.finish_count,
                                  shape=shape, workers=workers, seed=seed)  # fmt: skip
        save_file({k: v.contiguous().clone() for k, v in tail.items()}, folder / "finish.safetensors")
    if {"world", "reader", "finish"} & set(stages):
        if not (folder / "reader.safetensors").exists():
            print(f"{out} is not written yet: run the stage reader, too", flush=True)
            return
        assemble(folder, r).save(out)
        files = {name: folder / f"{name}.json" for name in CURVES}
        curves = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
        out.with_suffix(".json").write_text(json.dumps(curves))
        out.with_suffix(".svg").write_text(plot(curves, CURVES))
        print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)", flush=True)
    if "large" in stages:
        nano = Nano.load(out, device="cpu")
        decoder = guided_decoder.train(folder, nano, steps=r.large_steps, count=r.large_images, shape=shape,
                                       workers=workers, seed=seed)  # fmt: skip
        decoder.save(large := out.with_stem(out.stem + LARGE_SUFFIX))
        print(f"wrote {large} ({large.stat().st_size / 1e6:.1f} MB)", flush=True)


def assemble(folder: Path, r: Recipe) -> Nano:
    """The world assembled from the files of its stages in `folder`."""
    import torch
    from safetensors.torch import load_file

    from ..nano.autoencoder import Autoencoder
    from ..nano.earlier_weights import world_state
    from ..nano.image_reader import ImageReader
    from ..nano.text_encoder import TextEncoder
    from ..nano.transformer import WorldModel
    from ..nano.world import Nano
    from .adversarial import FinetunedTail

    autoencoder = Autoencoder(r.autoencoder)
    autoencoder.load_state_dict(torch.load(folder / "autoencoder.pt", weights_only=True)["state"]["model"])
    text, read, world = TextEncoder(r.text), ImageReader(r.autoencoder.channels), WorldModel(r.world)
    text.load_state_dict(load_file(folder / "text.safetensors"))
    read.load_state_dict(load_file(folder / "reader.safetensors"))
    world.load_state_dict(world_state(load_file(folder / "world.safetensors")))
    scale = load_file(folder / "scale.safetensors")
    nano = Nano(text, read, autoencoder, world, scale["mean"], scale["std"], torch.device("cpu"))
    if (finish := folder / "finish.safetensors").exists():
        FinetunedTail(nano).load_state_dict(load_file(finish))
    return nano

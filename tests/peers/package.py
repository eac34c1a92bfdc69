"""A package that brings worlds, as pip would leave it in a folder."""

from __future__ import annotations

from pathlib import Path


def describe(folder: Path, name: str, **worlds: str) -> None:
    """Write what tells of it. worlds: "module:attribute" by the world's name."""
    about = folder / f"{name.replace('-', '_')}-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    points = "".join(f"{world} = {place}\n" for world, place in worlds.items())
    (about / "entry_points.txt").write_text(f"[worldjockey.worlds]\n{points}")

"""A package that brings worlds or outputs, as pip would leave it in a folder."""

from __future__ import annotations

from pathlib import Path


def describe(folder: Path, name: str, group: str = "worldjockey.worlds", **points: str) -> None:
    """Write its metadata. points: "module:attribute" by the name of the world or of the kind of output."""
    about = folder / f"{name.replace('-', '_')}-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    points = "".join(f"{point} = {place}\n" for point, place in points.items())
    (about / "entry_points.txt").write_text(f"[{group}]\n{points}")

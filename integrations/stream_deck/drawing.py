"""Draws the keys and the touch strip of a Stream Deck. It runs in the deck's own process, and imports nothing of this
package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

DARK, TEXT, FAINT = (14, 15, 18), (240, 240, 240), (150, 152, 160)
COLORS = {
    "pad": (36, 120, 190), "cue": (196, 120, 20), "act": (120, 70, 190), "bank": (30, 140, 110), "page": (70, 74, 84),
    "warn": (200, 40, 40), "other": (60, 110, 120),
}  # fmt: skip
NAMED = ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/System/Library/Fonts/Helvetica.ttc", "arial.ttf")
LINES_MAX = 3
IMAGES_MAX = 64


@lru_cache(16)
def font(size: int) -> Any:
    for name in NAMED:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def color_of(text: str) -> tuple[int, int, int]:
    """ "pad", "cue", ... or "#ff8800"."""
    if text.startswith("#") and len(text) == 7:
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    return COLORS.get(text, COLORS["other"])


@lru_cache(IMAGES_MAX)
def picture(path: str, stamp: int, size: tuple[int, int]) -> Image.Image | None:
    """A still, cropped to fill a key. stamp: of the file, so that one that was drawn anew is read again."""
    try:
        with Image.open(path) as still:
            still.draft("RGB", size)
            found = still.convert("RGB")
    except (OSError, ValueError):
        return None
    scale = max(size[0] / found.width, size[1] / found.height)
    found = found.resize((max(round(found.width * scale), size[0]), max(round(found.height * scale), size[1])))
    left, top = (found.width - size[0]) // 2, (found.height - size[1]) // 2
    return found.crop((left, top, left + size[0], top + size[1]))


def _mixed(color: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    r, g, b = (round(dark + (part - dark) * share) for dark, part in zip(DARK, color, strict=True))
    return r, g, b


def wrapped(text: str, width: float, face: Any, lines_max: int = LINES_MAX) -> list[str]:
    """The text in lines that fit; what does not fit ends with an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        if lines and face.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    cut = len(lines) > lines_max
    lines = lines[:lines_max]
    for n, line in enumerate(lines):
        whole = line
        while len(line) > 1 and face.getlength(line + ("…" if line != whole else "")) > width:
            line = line[:-1]
        lines[n] = line + ("…" if line != whole or (cut and n == lines_max - 1) else "")
    return lines


def key(size: tuple[int, int], look: Mapping[str, Any]) -> Image.Image:
    """One key. look: "label" in the middle, "detail" above it, "color", "lit" 0..1 for how much it is on, "next" for
    what comes next, "image" for the path of a still. An empty look is a dark key."""
    width, height = size
    lit, color = float(look.get("lit", 0.0)), color_of(str(look.get("color", "other")))
    path = str(look.get("image") or "")
    still = None
    if path:
        try:
            still = picture(path, Path(path).stat().st_mtime_ns, size)
        except OSError:
            still = None
    if not look.get("label") and not look.get("detail"):
        return Image.new("RGB", size, (0, 0, 0))
    if still is None:
        image = Image.new("RGB", size, _mixed(color, 0.22 + 0.78 * min(lit, 1.0)))
    else:
        image = ImageEnhance.Brightness(still).enhance(0.45 + 0.55 * min(lit, 1.0))
    draw = ImageDraw.Draw(image)
    face, small = font(max(round(height * 0.19), 9)), font(max(round(height * 0.145), 8))
    margin = max(round(width * 0.06), 3)
    lines = wrapped(str(look.get("label", "")), width - 2 * margin, face)
    step = round(height * 0.215)
    top = height - margin - step * len(lines) if still is not None else (height - step * len(lines)) // 2 + margin
    for n, line in enumerate(lines):
        at = width / 2, top + step * n
        draw.text(at, line, TEXT, face, anchor="ma", stroke_width=2 if still is not None else 0, stroke_fill=(0, 0, 0))
    if detail := str(look.get("detail", "")):
        detail = wrapped(detail, width - 2 * margin, small, 1)[0]
        draw.text((margin + 1, margin), detail, TEXT if lit else FAINT, small, stroke_width=1, stroke_fill=(0, 0, 0))
    edge = max(round(width * 0.045), 2)
    if lit > 0:
        draw.rectangle((0, 0, width - 1, height - 1), outline=(255, 255, 255) if lit >= 1 else color, width=edge)
        if lit < 1:  # a weight in between, as a bar
            draw.rectangle((0, height - 2 * edge, round(width * lit), height - 1), fill=(255, 255, 255))
    elif look.get("next"):
        draw.rectangle((0, 0, width - 1, height - 1), outline=color, width=edge)
    return image


def strip(size: tuple[int, int], faders: Sequence[Mapping[str, Any]]) -> Image.Image:
    """The touch strip above the dials: one fader for each. faders: "label", "text" of the value, "share" 0..1 of the
    way, "rest" 0..1 for where the fader rests."""
    image = Image.new("RGB", size, DARK)
    draw, (width, height) = ImageDraw.Draw(image), size
    face, small = font(round(height * 0.24)), font(round(height * 0.2))
    for n, fader in enumerate(faders):
        left, right = round(width * n / len(faders)) + 10, round(width * (n + 1) / len(faders)) - 10
        if not fader:
            continue
        draw.text((left, 8), str(fader["label"]), TEXT, face)
        draw.text((right, height * 0.42), str(fader["text"]), FAINT, small, anchor="ra")
        top, bottom, way = round(height * 0.72), round(height * 0.88), right - left
        draw.rectangle((left, top, right, bottom), fill=(44, 46, 52))
        ends = sorted((left + way * float(fader["rest"]), left + way * float(fader["share"])))
        draw.rectangle((ends[0], top, max(ends[1], ends[0] + 2), bottom), fill=COLORS["pad"])
    return image

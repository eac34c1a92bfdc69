"""Draws what lies over the picture: the code to join the audience by, and the answers of its poll."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import segno
from worldjockey.integrations import Patch, Pixels

from ..ipc.overlay import fits

Color = tuple[int, int, int]
WHITE, FAINT, DARK, INK = (255, 255, 255), (172, 176, 188), (14, 15, 20), (20, 20, 24)
TRACK, BAR, WON = (58, 61, 72), (92, 148, 255), (255, 184, 66)
QUIET_MODULES = 4  # of white around a QR code (ISO/IEC 18004)
MODULE_PIXELS_MIN = 2  # a smaller code is not read
CODE_SHARES = {"corner": 0.28, "large": 0.62}  # of the show's smaller side
MARGIN_SHARE = 0.045  # of the show's smaller side: screens may cut off their edges
POLL_SHARE = 0.4  # of the show's width
REGULAR, BOLD = 400, 700  # weights of the font
UNKNOWN = ("Cf", "Cs", "Mn")  # kinds of characters that the font has not: marks and joiners
SHRINK_MIN = 0.7  # how far a text may shrink before it is cut


class Drawing:
    """Draws at the show's size. It keeps the code, which seldom changes while a poll's numbers do."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._code: tuple[tuple[str, int], Pixels] | None = None
        self._font = cv2.FontFace("sans")  # comes with OpenCV; its fallback has Chinese, Japanese and Korean

    def patches(self, overlay: Mapping[str, Any]) -> list[Patch]:
        """overlay: "code" with "text" and "size" (corner or large), "poll" with "question", "options", "counts",
        "winner" (None while it is open, -1 for none) and "seconds"; each may be missing. ValueError for a show that is
        too small for it."""
        small = min(self._width, self._height)
        margin, patches, code = _even(small * MARGIN_SHARE), [], overlay.get("code")
        tall = self._height > self._width
        bottom = self._height - margin
        if code:
            rgba = self._code_card(str(code["text"]), _even(small * CODE_SHARES[code["size"]]))
            height, width = rgba.shape[:2]
            x, y = self._width - margin - width, self._height - margin - height
            if code["size"] == "large":
                middle = 0.74 if overlay.get("poll") and not tall else 0.5
                x = min(_even(self._width * middle - width / 2), x)
                y = _even((self._height - height) / 2)
            patches.append(Patch(rgba, x, y))
            if tall and code["size"] == "corner":
                bottom = y - margin
        if poll := overlay.get("poll"):
            width = _even(self._width - 2 * margin if tall else self._width * POLL_SHARE)
            rgba = self._poll_card(poll, width, bottom - margin)
            patches.append(Patch(rgba, margin, _even(bottom - rgba.shape[0])))
        if not all(fits(patch, self._width, self._height) for patch in patches):
            raise ValueError(f"a show of {self._width}x{self._height} has no room for it: make it larger")
        return patches

    def _code_card(self, text: str, side: int) -> Pixels:
        """A white card of about this width, with the code and its address below, (h, w, 4)."""
        if self._code is None or self._code[0] != (text, side):
            self._code = (text, side), self._new_code(text, side)
        return self._code[1]

    def _new_code(self, text: str, side: int) -> Pixels:
        modules = np.array(list(segno.make(text, error="m", micro=False).matrix), np.uint8)
        each = max(side // (len(modules) + 2 * QUIET_MODULES), MODULE_PIXELS_MIN)
        code = np.kron(1 - modules, np.full((each, each), 255, np.uint8))
        quiet = QUIET_MODULES * each
        width = _even(len(code) + 2 * quiet)
        size = max(width // 13, 8)
        card = np.full((_even(quiet + len(code) + quiet + size), width, 3), 255, np.uint8)
        left = (width - len(code)) // 2
        card[quiet : quiet + len(code), left : left + len(code)] = code[..., None]
        label, size = self._fitted(_address(text), width - quiet, size, BOLD)
        self._text(card, label, width // 2, quiet + len(code) + quiet // 2 + size * 3 // 4, size, INK, BOLD, "middle")
        return _rounded(card, quiet // 2)

    def _poll_card(self, poll: Mapping[str, Any], width: int, height: int) -> Pixels:
        """(h, w, 4), at most of this height."""
        options, counts, winner = list(poll["options"]), list(poll["counts"]), poll["winner"]
        unit = min(min(self._width, self._height) / 1080, height / (150 + 104 * len(options)))
        pad, big, size, bar, row = (_even(n * unit) for n in (30, 42, 34, 16, 84))
        inner = width - 2 * pad
        clock = "" if winner is not None or not poll["seconds"] else str(poll["seconds"])
        room = inner - (self._measured("0" * max(len(clock), 3), big, BOLD) + pad if clock else 0)
        lines = self._lines(drawable(str(poll["question"])), room, big)
        card = np.full((_even(2 * pad + len(lines) * big * 5 // 4 + row * len(options)), width, 3), DARK, np.uint8)
        y = pad
        for line in lines:
            y += big
            line, line_size = self._fitted(line, room, big, BOLD)
            self._text(card, line, pad, y - big // 8, line_size, WHITE, BOLD)
            y += big // 4
        if clock:
            self._text(card, clock, width - pad, pad + big * 7 // 8, big, FAINT, BOLD, "right")
        total = max(sum(counts), 1)
        for n, (option, count) in enumerate(zip(options, counts, strict=True)):
            won = winner == n
            color = WHITE if won or winner is None else FAINT
            share = f"{round(100 * count / total)}%"
            top = y + row * n
            label, label_size = self._fitted(
                drawable(str(option)), inner - self._measured("100%", size, BOLD) - pad, size, BOLD if won else REGULAR
            )
            self._text(card, label, pad, top + row // 2, label_size, color, BOLD if won else REGULAR)
            self._text(card, share, width - pad, top + row // 2, size, color, BOLD, "right")
            _bar(card, pad, top + row // 2 + bar, inner, bar, 1.0, TRACK)
            _bar(card, pad, top + row // 2 + bar, inner, bar, count / total, WON if won else BAR)
        return _rounded(card, pad * 2 // 3)

    def _measured(self, text: str, size: int, weight: int) -> int:
        """The width of a text in pixels. size: its height in pixels."""
        return int(cv2.getTextSize((1, 1), text, (0, 0), self._font, size, weight)[2])

    def _fitted(self, text: str, width: int, size: int, weight: int) -> tuple[str, int]:
        """The text in a size in which it fits; one that would be too small is cut instead."""
        smallest = round(size * SHRINK_MIN)
        while size > smallest and self._measured(text, size, weight) > width:
            size -= 1
        whole = text
        while len(text) > 1 and self._measured(text if text == whole else text + "…", size, weight) > width:
            text = text[:-1].rstrip()
        return text if text == whole else text + "…", size

    def _lines(self, text: str, width: int, size: int) -> list[str]:
        """A question in one line or two, divided near its middle."""
        spaces = [n for n, character in enumerate(text) if character == " "]
        if not spaces or self._measured(text, size, BOLD) <= width:
            return [text]
        at = min(spaces, key=lambda n: abs(n - len(text) / 2))
        return [text[:at], text[at + 1 :]]

    def _text(self, card: Pixels, text: str, x: int, y: int, size: int, color: Color, weight: int,
              where: str = "left") -> None:  # fmt: skip
        """Write on a card. x: of its left edge, middle or right edge. y: of its baseline."""
        left = {"left": 0, "middle": 0.5, "right": 1}[where]
        x -= round(left * self._measured(text, size, weight))
        cv2.putText(card, text, (x, y), color, self._font, size, weight)


def drawable(text: str) -> str:
    """The text in one line, without emoji and other characters that the font has not."""
    known = [c for c in unicodedata.normalize("NFC", text) if ord(c) < 0x10000]
    kinds = [unicodedata.category(c) for c in known]
    shown = (" " if kind == "Cc" else c for c, kind in zip(known, kinds, strict=True) if kind not in UNKNOWN)
    return " ".join("".join(shown).split())


def _bar(card: Pixels, x: int, y: int, width: int, height: int, share: float, color: Color) -> None:
    """A bar with round ends, smooth at a fraction of a pixel."""
    if share <= 0:
        return
    shift = 4
    radius = height / 2
    end = max(width * share, height)
    points = [round(v * (1 << shift)) for v in (x + radius, y + radius, x + end - radius)]
    cv2.line(card, (points[0], points[1]), (points[2], points[1]), color, height, cv2.LINE_AA, shift)


def _rounded(card: Pixels, radius: int) -> Pixels:
    """(h, w, 3) -> (h, w, 4) with round corners, opaque: what hides the picture is copied, and need not be blended."""
    height, width = card.shape[:2]
    y = np.maximum(np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius), 0)[:, None]
    x = np.maximum(np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius), 0)[None, :]
    inside = np.clip(radius - np.hypot(x, y) + 0.5, 0, 1)
    return np.dstack([card, (inside * 255).astype(np.uint8)])


def _address(url: str) -> str:
    """A URL as people type it."""
    return url.partition("://")[2].removesuffix("/") or url


def _even(value: float) -> int:
    return max(int(value) // 2 * 2, 2)

"""Photographs and drawings as a person expects to see them: upright, whole, opaque, in the colours of a screen."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from .. import Pixels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import pi_heif
    except ImportError:  # its wheels do not exist for every machine
        pi_heif = None

if pi_heif is not None:
    pi_heif.register_heif_opener()

FFMPEG_ANIMATES = ("GIF", "PNG", "AVIF")  # of an animated WebP the first frame is shown
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"}  # ISO/IEC 23008-12, 10.2
DAMAGED = (SyntaxError, ValueError, EOFError, RuntimeError)  # what Pillow raises for damaged files, beside OSError
UNREADABLE = (OSError, *DAMAGED, Image.DecompressionBombError)
CUT_SHORT = ("truncated", "end of file", "outside of file")  # in what Pillow and libheif say of half a file
DEFAULT_DELAY_MS = 100  # of an animation's frame that tells none, as in browsers
SIDE_MAX = 4096  # pixels; more than any world draws


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image, whatever Pillow thinks of its size and metadata: its warnings are for programmers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            yield image


def _lacks_decoder(path: Path) -> bool:
    """Whether the file is HEIC, by its content, as phones and their programs exchange its name with JPEG's, and no
    package for it is here."""
    if pi_heif is not None:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and head[8:] in HEIC_BRANDS


def is_still(path: Path) -> bool:
    """Whether the file is an image that does not move."""
    if _lacks_decoder(path):
        return True
    try:
        with _opened(path) as image:
            return not (image.format in FFMPEG_ANIMATES and getattr(image, "is_animated", False))
    except UNREADABLE:
        return False


def read_still(path: Path) -> Pixels | None:
    """(height, width, 3) RGB, at most SIDE_MAX pixels a side; None where the file is no image that Pillow knows.

    Obeys what the file says: EXIF's orientation, an ICC profile, tiles. Transparent parts are black. Raises ValueError,
    with the fix, for an image that is damaged or too large, and OSError where it cannot be read.
    """
    if _lacks_decoder(path):
        raise ValueError(f"{path}: HEIC needs a package: pip install pi-heif, or save the image as JPEG")
    try:
        with _opened(path) as image:
            return _shown(image)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: this image is too large; make it 4096 pixels wide or smaller") from None
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        cut = any(word in str(error).lower() for word in CUT_SHORT)
        fix = "is not complete: copy or download it again" if cut else "is damaged: save it again as PNG or JPEG"
        raise ValueError(f"{path}: this image {fix}") from error


def animation(path: Path) -> Iterator[tuple[float, Pixels]]:
    """(seconds since the first, (height, width, 3) RGB) of the frames of an animated WebP, which FFmpeg cannot decode;
    none of any other file."""
    try:
        with _opened(path) as image:
            if image.format != "WEBP" or not getattr(image, "is_animated", False):
                return
            at_ms = 0
            for number in range(image.n_frames):  # type: ignore[attr-defined]
                image.seek(number)
                yield at_ms / 1000, _shown(image)
                at_ms += image.info.get("duration", 0) or DEFAULT_DELAY_MS
    except UNREADABLE:
        return


def _shown(image: Image.Image) -> Pixels:
    image.draft(None, (SIDE_MAX, SIDE_MAX))  # a panorama as JPEG is decoded smaller at once
    upright = ImageOps.exif_transpose(image)
    if max(upright.size) > SIDE_MAX:
        upright.thumbnail((SIDE_MAX, SIDE_MAX), Image.Resampling.BOX)
    if upright.mode.startswith(("I", "F")):  # grey of 16 bits, or as a floating-point number
        values = np.asarray(upright, np.float64)
        most = values.max(initial=0)
        scale = 257 if most > 255 else 1 / 255 if upright.mode == "F" and most <= 1 else 1
        upright = Image.fromarray((values / scale).clip(0, 255).astype(np.uint8))
    screen = _on_screen(upright)
    if "A" in screen.getbands() or "transparency" in screen.info:
        rgba = screen.convert("RGBA")
        screen = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.ascontiguousarray(np.asarray(screen.convert("RGB"), np.uint8))


def _on_screen(image: Image.Image) -> Image.Image:
    """In sRGB, by the file's own ICC profile."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    out = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        return ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode=out
        ) or image  # fmt: skip
    except (ImageCms.PyCMSError, OSError):  # a profile that is broken or of another kind of image
        return image

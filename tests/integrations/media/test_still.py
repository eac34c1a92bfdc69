"""Images as a phone or a browser shows them."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import heic
import numpy as np
import pytest
from PIL import Image, ImageCms
from quarters import near, quarters
from worldjockey.integrations.media import still
from worldjockey.integrations.media.still import read_still
from worldjockey.integrations.media_files import read_video

# EXIF's orientations 1 to 8: what was done to the frame before it was stored.
STORED = {
    1: lambda image: image, 2: np.fliplr, 3: lambda image: np.rot90(image, 2), 4: np.flipud,
    5: lambda image: np.rot90(np.fliplr(image)), 6: np.rot90, 7: lambda image: np.rot90(np.fliplr(image), -1),
    8: lambda image: np.rot90(image, -1),
}  # fmt: skip


@pytest.mark.parametrize("orientation", list(STORED))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_photographs_are_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation](quarters(96, 64)))).save(path, exif=exif, quality=95)
    shown = read_still(path)
    assert shown is not None
    assert near(shown, quarters(96, 64))


@pytest.mark.skipif(still.pi_heif is None, reason="pi-heif has no wheel for this machine")
def test_a_phones_image_in_tiles_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = tmp_path / "phone.heic"
    heic.write(sample, quarters(3 * heic.TILE, 2 * heic.TILE))
    shown = read_still(sample)
    assert shown is not None
    assert near(shown, quarters(3 * heic.TILE, 2 * heic.TILE))
    monkeypatch.setattr(still, "pi_heif", None)
    renamed = sample.rename(tmp_path / "phone.jpg")
    with pytest.raises(ValueError, match="pip install pi-heif"):
        read_still(renamed)


def test_a_jpeg_that_a_phone_called_heic_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(quarters(96, 64)).save(tmp_path / "IMG_3564.HEIC", "JPEG", quality=95)
    monkeypatch.setattr(still, "pi_heif", None)
    assert still.is_still(tmp_path / "IMG_3564.HEIC")
    shown = read_still(tmp_path / "IMG_3564.HEIC")
    assert shown is not None
    assert near(shown, quarters(96, 64))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff"])
def test_a_panorama_is_made_smaller_without_a_warning_on_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15_000)  # from which Pillow warns; from twice as many it refuses
    monkeypatch.setattr(still, "SIDE_MAX", 64)
    path = tmp_path / f"panorama{suffix}"
    Image.fromarray(quarters(200, 100)).save(path, quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert still.is_still(path)
        shown = read_still(path)
    assert shown is not None
    assert near(shown, quarters(64, 32))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_parts_are_black(tmp_path: Path, mode: str) -> None:
    image = np.dstack([quarters(64, 64), np.full((64, 64), 255, np.uint8)])
    image[:32, :, 3] = 0
    drawn = Image.fromarray(image)
    if mode == "PA":
        drawn = drawn.quantize(16)
    elif mode == "LA":
        drawn = drawn.convert("LA")
    drawn.save(tmp_path / "logo.png")
    shown = read_still(tmp_path / "logo.png")
    assert shown is not None
    assert shown[:31].max() == 0
    assert shown[34:].max() > 150


def test_colours_follow_the_files_profile(tmp_path: Path) -> None:
    """A profile whose primaries are exchanged shows whether it is obeyed."""
    grey = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    grey.save(tmp_path / "print.jpg")
    shown = read_still(tmp_path / "print.jpg")
    assert shown is not None
    assert shown[8, 8, 0] > 150 > shown[8, 8, 1]
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = plain.replace(b"rXYZ", b"?").replace(b"gXYZ", b"rXYZ").replace(b"?", b"gXYZ")
    Image.new("RGB", (16, 16), (200, 20, 20)).save(tmp_path / "exchanged.png", icc_profile=exchanged)
    green = read_still(tmp_path / "exchanged.png")
    assert green is not None
    assert green[8, 8].tolist() == pytest.approx([20, 200, 20], abs=3)
    Image.new("RGB", (16, 16), (90, 90, 90)).save(tmp_path / "broken.png", icc_profile=b"no profile")
    unchanged = read_still(tmp_path / "broken.png")
    assert unchanged is not None
    assert (unchanged == 90).all()


@pytest.mark.parametrize(
    ("name", "white", "kind"), [("deep.png", 65535, np.uint16), ("height.tiff", 1, np.float32)],
    ids=["16 bits", "floating point"],
)  # fmt: skip
def test_grey_of_other_ranges_is_scaled(tmp_path: Path, name: str, white: int, kind: type) -> None:
    ramp = np.linspace(0, white, 256, dtype=kind)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / name)
    shown = read_still(tmp_path / name)
    assert shown is not None
    assert np.abs(shown[4, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_what_is_no_image_and_what_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    assert read_still(tmp_path / "notes.txt") is None
    data = io.BytesIO()
    Image.fromarray(quarters(256, 256)).save(data, "PNG")
    (tmp_path / "cut.png").write_bytes(data.getvalue()[:-200])
    with pytest.raises(ValueError, match="this image is not complete: copy or download it again"):
        read_still(tmp_path / "cut.png")
    with pytest.raises(FileNotFoundError):
        read_still(tmp_path / "nowhere.png")


def test_an_animation_that_ffmpeg_cannot_play_shows_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(quarters(96, 64), 12 * n, 1)) for n in range(3)]
    for suffix, moves in ((".webp", False), (".gif", True), (".avif", True)):
        path = tmp_path / f"loop{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, quality=95)
        assert still.is_still(path) != moves
        shown = read_still(path)
        assert shown is not None
        assert near(shown, quarters(96, 64), 20)


def test_an_animated_webp_is_a_clip(tmp_path: Path) -> None:
    images = [Image.fromarray(np.full((64, 96, 3), 40 * n, np.uint8)) for n in (1, 2, 3)]
    images[0].save(tmp_path / "sticker.webp", save_all=True, append_images=images[1:], duration=[100, 300, 100])
    clip = read_video(tmp_path / "sticker.webp", 10, 5.0, 32)
    assert clip.shape == (5, 32, 48, 3)
    assert clip[:, 16, 24, 0].tolist() == pytest.approx([40, 80, 80, 80, 120], abs=4)

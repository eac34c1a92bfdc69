"""NDI out against cyndilib, an independent receiver in a process of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.ndi import output as ndi
from worldjockey.integrations.ndi.output import NDIOutput, full_name, list_sources
from worldjockey.node.output.layouts import shape_of
from worldjockey.node.output.scaling import Scaler

pytestmark = pytest.mark.slow

Status = dict[str, Any]

# Colours and their BT.709 limited-range Y'CbCr, computed by hand from the standard.
PATCHES = {
    (0, 0, 0): (16, 128, 128),
    (128, 128, 128): (126, 128, 128),
    (255, 255, 255): (235, 128, 128),
    (200, 100, 50): (117, 96, 172),
    (20, 40, 60): (48, 139, 120),
}


@contextlib.contextmanager
def on_air(output: NDIOutput, fmt: VideoFormat, image: np.ndarray) -> Iterator[Callable[[], Status]]:
    """Sends `frame` at the format's rate from a ring of slots that are scribbled over once they may be."""
    stop = threading.Event()
    status: Status = {}
    ready = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            output.open(fmt)
            ready.set()
            slots = [np.empty_like(image) for _ in range(output.holds + 1)]
            due = time.monotonic()
            tick = 0
            while not stop.is_set():
                slots[tick % len(slots)][:] = image
                output.send(Frame(slots[tick % len(slots)], tick, due))
                tick += 1
                slots[tick % len(slots)][:] = 77  # the one that was given back
                status.update(output.status())
                due += 1 / fmt.fps
                stop.wait(max(due - time.monotonic(), 0))
        except BaseException as error:
            errors.append(error)
        finally:
            ready.set()
            output.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(60)
    while thread.is_alive() and "source" not in status:
        thread.join(0.01)
    try:
        yield lambda: status
    finally:
        stop.set()
        thread.join()
    assert not errors


def patches(width: int, height: int, values: list[tuple[int, ...]]) -> np.ndarray:
    image = np.zeros((height, width, len(values[0])), np.uint8)
    for column, value in zip(np.array_split(np.arange(width), len(values)), values, strict=True):
        image[:, column] = value
    return image


def centres(image: np.ndarray, count: int) -> list[tuple[int, ...]]:
    columns = np.array_split(np.arange(image.shape[1]), count)
    return [tuple(int(x) for x in image[image.shape[0] // 2, c[len(c) // 2]]) for c in columns]


def test_rgba_arrives_with_its_colours_alpha_size_and_rate(ndi_receiver: Any, wait_for: Any) -> None:
    name = f"wj rgba {os.getpid()}"
    fmt = VideoFormat(960, 540, 30000, 1001, name)
    image = patches(960, 540, [(*rgb, 255) for rgb in PATCHES])
    image[..., 3] = np.linspace(0, 255, 540).astype(np.uint8)[:, None]
    with on_air(NDIOutput(layout="rgba"), fmt, image) as status:
        receiver = ndi_receiver(name)
        first = receiver.wait(lambda row: True)
        assert (first["size"], first["fps"], first["fourcc"]) == ([960, 540], [30000, 1001], "RGBA")
        got = receiver.picture()
        # The NDI library itself rounds RGB down on its way to Y'CbCr and back: up to 5 levels, whoever sends.
        for sent, seen in zip(PATCHES, centres(got[..., :3], len(PATCHES)), strict=True):
            assert np.abs(np.subtract(sent, seen)).max() <= 5, (sent, seen)
        assert np.abs(got[..., 3].astype(int) - image[..., 3]).max() <= 3
        wait_for(lambda: status()["connections"] == 1)
        assert status()["source"].endswith(f"({name})")
        receiver.tell("program 1")
        wait_for(lambda: status()["tally"] == {"program": True, "preview": False})
        receiver.tell("program 0")
        receiver.tell("preview 1")
        wait_for(lambda: status()["tally"] == {"program": False, "preview": True})
        receiver.stop()
        wait_for(lambda: status()["connections"] == 0)


BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0)]


def rgb_of(y: int, cb: int, cr: int) -> tuple[float, ...]:
    """BT.709, limited range, as the standard has it."""
    luma, b, r = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    red, blue = luma + 1.5748 * r, luma + 1.8556 * b
    return tuple(255 * v for v in (red, (luma - 0.2126 * red - 0.0722 * blue) / 0.7152, blue))


@pytest.mark.parametrize("size", [(1920, 1080), (640, 360)])
def test_colour_bars_come_back_within_2_levels(size: tuple[int, int], ndi_receiver: Any) -> None:
    """From the world's RGB through our scaler, NDI and a receiver that is not ours, whatever the size."""
    name = f"wj bars {os.getpid()} {size[0]}"
    image = np.empty(shape_of("uyvy", *size), np.uint8)
    Scaler("uyvy", *size).into(patches(512, 288, BARS), image)
    with on_air(NDIOutput(name), VideoFormat(*size, 30), image):
        got = ndi_receiver(name, "--uyvy").picture()
    worst = 0.0
    for bar, column in zip(BARS, np.array_split(np.arange(size[0]), len(BARS)), strict=True):
        x = column[len(column) // 2] // 2 * 2
        seen = rgb_of(int(got[size[1] // 2, x, 1]), int(got[size[1] // 2, x, 0]), int(got[size[1] // 2, x + 1, 0]))
        worst = max(worst, float(np.abs(np.subtract(seen, bar)).max()))
    assert worst <= 2, worst


def test_bgrx_arrives_in_its_order(ndi_receiver: Any) -> None:
    name = f"wj bgrx {os.getpid()}"
    image = np.empty((360, 640, 4), np.uint8)
    Scaler("bgrx", 640, 360).into(patches(512, 288, list(PATCHES)), image)
    with on_air(NDIOutput(name, layout="bgrx"), VideoFormat(640, 360, 30), image):
        receiver = ndi_receiver(name, "--bgrx")
        assert receiver.wait(lambda row: True)["fourcc"] == "BGRX"
        for sent, seen in zip(PATCHES, centres(receiver.picture(), len(PATCHES)), strict=True):
            assert np.abs(np.subtract(sent, seen[2::-1])).max() <= 8, (sent, seen)


def test_timecode_is_when_each_tick_was_due(ndi_receiver: Any) -> None:
    name = f"wj time {os.getpid()}"
    fmt = VideoFormat(320, 180, 30000, 1001, name)
    with on_air(NDIOutput(), fmt, np.full((180, 320, 2), 128, np.uint8)):
        receiver = ndi_receiver(name, "--uyvy")
        receiver.wait(lambda row: row["number"] >= 20)
    codes = [row["timecode"] for row in receiver.rows]
    assert abs(codes[-1] - time.time()) < 60  # UTC
    ticks = [(code - codes[0]) * fmt.fps for code in codes]
    assert len(ticks) > 20
    assert max(abs(tick - round(tick)) for tick in ticks) < 1e-4
    assert len(ticks) - 6 <= ticks[-1] < 10 * len(ticks)  # a frame synchroniser may leave some out


def keyed(columns: list[tuple[int, int, int]], **options: Any) -> tuple[NDIOutput, np.ndarray]:
    image = np.empty(shape_of("uyvy", 640, 360), np.uint8)
    Scaler("uyvy", 640, 360).into(patches(640, 360, columns), image)
    return NDIOutput(f"wj key {os.getpid()} {time.monotonic_ns()}", **options), image


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"key": "luma"}, [0, 255, 255, 255]),
        ({"key": "luma", "threshold": 0.6}, [0, 0, 255, 0]),
        ({"key": "green"}, [255, 0, 255, 255]),
    ],
)
def test_a_key_makes_real_alpha_beside_exact_colours(options: Any, wanted: list[int], ndi_receiver: Any) -> None:
    output, image = keyed([(10, 10, 10), (20, 180, 40), (240, 240, 240), (200, 60, 40)], **options)
    with on_air(output, VideoFormat(640, 360, 30), image) as status:
        receiver = ndi_receiver(status()["source"])
        assert receiver.wait(lambda row: True)["fourcc"] == "RGBA"
        seen = centres(receiver.picture(), 4)
    assert [pixel[3] for pixel in seen] == pytest.approx(wanted, abs=3)
    assert np.abs(np.subtract(seen[3][:3], (200, 60, 40))).max() <= 8


def test_the_figures_matte_arrives_as_alpha(ndi_receiver: Any) -> None:
    colours = patches(640, 360, [(10, 10, 10), (20, 180, 40), (240, 240, 240), (200, 60, 40)])
    matte = np.repeat(np.repeat(np.array([[0, 255, 90, 255]], np.uint8), 160, 1), 360, 0)
    image = np.empty(shape_of("uyva", 640, 360), np.uint8)
    Scaler("uyva", 640, 360).into(np.dstack([colours, matte]), image)
    output = NDIOutput(f"wj matte {os.getpid()}", key="figure")
    assert output.layout == "uyva"
    with on_air(output, VideoFormat(640, 360, 30), image) as status:
        receiver = ndi_receiver(status()["source"])
        assert receiver.wait(lambda row: True)["fourcc"] == "RGBA"
        seen = centres(receiver.picture(), 4)
    assert [pixel[3] for pixel in seen] == pytest.approx([0, 255, 90, 255], abs=3)
    assert np.abs(np.subtract(seen[3][:3], (200, 60, 40))).max() <= 8


def test_receivers_get_metadata_and_not_too_often(ndi_receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"wj news {os.getpid()}"
    output = NDIOutput(name)
    news: dict[str, Any] = {"prompt": 'a "calm" sea <at> noon\x01\ud83d\ufffe', "cue": "öffnen", "latency_ms": 81.6}
    calls = 0

    def send(frame: Frame, plain: Callable[[Frame], None] = output.send) -> None:
        nonlocal calls
        plain(frame)
        calls += 1
        output.set_metadata({**news, "latency_ms": news["latency_ms"] + calls})

    monkeypatch.setattr(output, "send", send)
    with on_air(output, VideoFormat(320, 180, 30), np.full((180, 320, 2), 128, np.uint8)):
        receiver = ndi_receiver(name, "--uyvy")
        receiver.wait(lambda row: any(m["tag"] == "worldjockey" for m in row["metadata"]))
        elements = [m for row in list(receiver.rows) for m in row["metadata"]]
        ours = [m for m in elements if m["tag"] == "worldjockey"]
        assert any(m["tag"] == "ndi_product" and m["long_name"] == "worldjockey" for m in elements)
        assert ours[-1]["prompt"] == 'a "calm" sea <at> noon'
        assert ours[-1]["cue"] == "öffnen"
        assert 80 < int(ours[-1]["latency_ms"]) <= 82 + calls
        news["prompt"] = "night"
        receiver.wait(lambda row: any(m.get("prompt") == "night" for m in row["metadata"]))
        first = len(receiver.rows)
        receiver.wait(lambda row: row["number"] >= first + 45)
        seconds = receiver.rows[-1]["time"] - receiver.rows[first]["time"]
        count = sum(m["tag"] == "worldjockey" for row in receiver.rows[first:] for m in row["metadata"])
        assert 1 <= count <= seconds + 2


def test_groups_hide_a_source_from_everybody_else(discovery: None, wait_for: Any) -> None:
    name, group = f"wj group {os.getpid()}", f"stage {os.getpid()}"
    output = NDIOutput(name, groups=group)
    output.open(VideoFormat(64, 36, 30))
    try:
        wait_for(lambda: any(name in source for source in list_sources(0.3, group)))
        assert not any(name in source for source in list_sources(0.5))
    finally:
        output.close()


def test_receivers_turn_to_the_failover_source(ndi_receiver: Any) -> None:
    fmt = VideoFormat(320, 180, 30)
    spare, main = f"wj spare {os.getpid()}", f"wj main {os.getpid()}"
    grey, white = (np.full((180, 320, 2), 128, np.uint8) for _ in range(2))
    white[..., 1] = 235
    with on_air(NDIOutput(spare), fmt, grey):
        with on_air(NDIOutput(main, failover=spare), fmt, white):
            receiver = ndi_receiver(main, "--uyvy")
            receiver.wait(lambda row: row["mean"][1] > 230)
        receiver.wait(lambda row: row["mean"][1] < 140)


def test_a_failover_source_is_on_this_machine_unless_it_says_another() -> None:
    assert full_name("spare", "STAGE (wj)") == "STAGE (spare)"
    assert full_name("BACKUP (wj)", "STAGE (wj)", {"backup"}) == "BACKUP (wj)"
    assert full_name("stage (wj)", "STAGE (wj)") == "stage (wj)"
    assert full_name("Spare (B)", "STAGE (wj)", {"BACKUP"}) == "STAGE (Spare (B))", "no machine is called Spare"
    assert full_name("Backup 1/2", "STAGE (wj)") == "STAGE (Backup 1 2)", "as NDI announces it"


def test_uyvy_arrives_bit_for_bit(ndi_receiver: Any) -> None:
    name = f"wj uyvy {os.getpid()}"
    fmt = VideoFormat(1280, 720, 25, 1, "not this one")
    image = np.zeros((720, 1280, 2), np.uint8)
    columns = np.array_split(np.arange(1280), len(PATCHES))
    for column, (y, cb, cr) in zip(columns, PATCHES.values(), strict=True):
        image[:, column, 1] = y
        image[:, column, 0] = np.where(column % 2, cr, cb)
    with on_air(NDIOutput(name, layout="uyvy"), fmt, image):
        receiver = ndi_receiver(name, "--uyvy")
        first = receiver.wait(lambda row: True)
        assert (first["size"], first["fps"], first["fourcc"]) == ([1280, 720], [25, 1], "UYVY")
        got = receiver.picture()
        middles = [c[len(c) // 2] // 2 * 2 for c in columns]
        for middle, ycc in zip(middles, PATCHES.values(), strict=True):
            seen = (got[360, middle, 1], got[360, middle, 0], got[360, middle + 1, 0])
            assert np.abs(np.subtract(seen, ycc)).max() <= 1


def test_sources_are_listed(discovery: None, wait_for: Any) -> None:
    output = NDIOutput(f"wj list {os.getpid()}")
    output.open(VideoFormat(64, 36, 30))
    try:
        wait_for(lambda: any(f"wj list {os.getpid()}" in source for source in list_sources(0.3)))
        with pytest.raises(OSError, match="another name"):
            NDIOutput(f"wj list {os.getpid()}").open(VideoFormat(64, 36, 30))
    finally:
        output.close()


def test_a_frame_of_another_size_is_refused(discovery: None) -> None:
    output = NDIOutput(f"wj size {os.getpid()}", layout="rgba")
    output.open(VideoFormat(64, 36, 30))
    try:
        with pytest.raises(ValueError, match=r"\(36, 64, 4\)"):
            output.send(Frame(np.zeros((36, 32, 4), np.uint8), 0, 0.0))
        assert output.status()["frames"] == 0
    finally:
        output.close()


@pytest.mark.parametrize(("missing", "fix"), [("DBUS_SOCKET", "service dbus start"), ("AVAHI_SOCKET", "avahi-daemon")])
def test_missing_discovery_names_the_fix(
    missing: str, fix: str, discovery: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ndi, missing, tmp_path / "nobody")
    monkeypatch.setenv("NDI_CONFIG_DIR", str(tmp_path))
    with pytest.raises(OSError, match=fix):
        NDIOutput().open(VideoFormat(64, 36, 30))
    (tmp_path / "ndi-config.v1.json").write_text('{"ndi": {"networks": {"discovery": "127.0.0.1"}}}')
    ndi.check_discovery()  # with a Discovery Server nobody needs mDNS


def test_missing_runtime_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "NDIlib", None)
    with pytest.raises(RuntimeError, match="pip install ndi-python"):
        NDIOutput().open(VideoFormat(64, 36, 30))


def test_unknown_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="yuv420p"):
        NDIOutput(layout="yuv420p")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layout: uyvy, not rgba"):
        NDIOutput(layout="rgba", key="luma")


def test_the_command_that_starts_discovery_is_one_that_exists_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ndi, "SYSTEMD", tmp_path / "systemd")
    monkeypatch.setattr(ndi, "INIT_SCRIPTS", tmp_path)
    assert ndi.start_command("avahi-daemon") == "sudo avahi-daemon -D"
    assert "dbus-daemon --system" in ndi.start_command("dbus")
    (tmp_path / "avahi-daemon").touch()
    assert ndi.start_command("avahi-daemon") == "sudo service avahi-daemon start"
    (tmp_path / "systemd").mkdir()
    assert ndi.start_command("dbus") == "sudo systemctl start dbus"

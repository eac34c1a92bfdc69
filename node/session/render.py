"""`wj render`: a clip from a control log. Time comes from the log alone, so the same log gives the same frames."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from worldjockey.integrations import ControlEvent, Frame, VideoFormat
from worldjockey.model.spec import on_host

from ..control.control_log import parts, read
from ..control.desk import Desk
from ..ipc.frame_ring import FrameInfo, Pixels
from ..ipc.mailbox import Mailbox
from ..output.layouts import shape_of
from ..output.program import Program, glide, inbetween_mode, standby
from ..output.scaling import Scaler
from ..show.schema import Show
from ..timing.show_clock import ShowClock
from ..timing.tempo import Line
from ..world.process import DT_MIN, WorldOptions, WorldStepper

if TYPE_CHECKING:
    from worldjockey.model import World

TAIL_S = 1.0  # of the clip after the last control
OnProgress = Callable[[int, int], None]  # frames rendered, and frames in all


class NewestFrame:
    """The world's newest frame in this process, as `Program` reads it from a `FrameRing` in a show."""

    def __init__(self) -> None:
        self.newest = 0
        self._held: tuple[int, Pixels, FrameInfo] | None = None

    def write(self, pixels: Pixels, info: FrameInfo) -> None:
        self.newest += 1
        self._held = (self.newest, pixels, info)

    def read(self) -> tuple[int, Pixels, FrameInfo] | None:
        return self._held


class BurstPlayout:
    """Plays out the frames of a world that makes several at a step, evenly spaced from `begin` on."""

    def __init__(self, player: WorldStepper, begin: float) -> None:
        self._player, self._last, self._covered = player, begin - 1 / player.world.spec.fps, 1
        self._waiting: deque[Pixels] = deque()

    def until(self, now: float, ring: NewestFrame) -> None:
        """Write the frames that are due by `now`; none are while the world is frozen or its speed is 0."""
        gap = 1 / self._player.rate if self._player.rate > 0 else math.inf
        if self._player.mailbox.value("freeze") or math.isinf(gap):
            self._last = now
        while self._last + gap <= now + 1e-9:
            if not self._waiting:
                self._player.encoder.once()
                made = self._player.step(self._covered * gap)
                if made is None:  # there was no prompt yet
                    self._last = now
                    return
                self._waiting.extend(on_host(made[0]))
                self._covered = len(self._waiting)
            ring.write(self._waiting.popleft(), FrameInfo(now, 0.0, gap))
            self._last += gap


@dataclass(frozen=True)
class Rendered:
    """The clip. seconds: its length. sha256: of all frames as the program composed them, before compression."""

    path: str
    frames: int
    seconds: float
    sha256: str


def duration(log: Path, tail: float = TAIL_S) -> float:
    """Seconds from the beginning of the log to `tail` seconds after its last control."""
    begin = end = None
    for row in read(parts(log)):
        begin = row["t"] if begin is None else begin
        if "line" not in row or "log" in row:
            end = row["t"]
    assert begin is not None  # an empty log was refused
    assert end is not None
    return max(end - begin, 0.0) + tail


def frames(show: Show, log: Path, world: World, seconds: float, folder: Path = Path()) -> Iterator[Pixels]:
    """Every tick's frame, (h, w, 3) RGB at the world's own size, with blackout and in-betweens as in the show.

    The world takes one step a tick, or fewer where the show has more ticks a second than a world may take steps. If it
    makes several frames a step, they follow one another at the world's own rate.
    """
    rows = read(parts(log))
    head = next(rows)
    begin, lost = float(head["t"]), head.get("lost", 0)
    period = show.fps_den / show.fps_num
    every = max(math.ceil(DT_MIN / period - 1e-9), 1)
    mailbox = Mailbox()
    try:
        desk = Desk(show, mailbox, ShowClock(now=begin), replaying=True)
        desk.restore(head, begin)
        media = show.media(folder)
        player = WorldStepper(world, mailbox, WorldOptions(show.model, top_fps=1 / period, media=media))
        newest = NewestFrame()
        first = standby(512, 512 * show.height // show.width // 2 * 2)
        program = Program(newest, first, period)  # type: ignore[arg-type]
        blackout = mailbox.value("blackout")
        ahead: dict[str, Any] | None = next(rows, None)
        bursts = BurstPlayout(player, begin)
        for tick in range(math.ceil(seconds / period)):
            now = begin + tick * period
            while ahead is not None and ahead["t"] <= now:
                if "log" in ahead:
                    if ahead.get("lost", 0) > lost:
                        lost = ahead["lost"]
                        desk.restore(ahead, ahead["t"])
                else:
                    _obey(desk, ahead)
                ahead = next(rows, None)
            desk.advance(now)
            if player.bursts:
                bursts.until(now, newest)
            elif tick % every == 0:
                player.encoder.once()
                made = player.step(every * period)
                if made is not None:
                    newest.write(on_host(made[0])[-1], FrameInfo(now, 0.0, every * period))
            blackout = glide(blackout, mailbox.value("blackout"))
            yield program.tick(now, inbetween_mode(mailbox), blackout)[0]
    finally:
        mailbox.unlink()


def _obey(desk: Desk, row: dict[str, Any]) -> None:
    if "line" in row:
        desk.clock.set(Line(*row["line"]))
    elif "to" in row and not row.get("waits"):
        meta = {"relative": True} if row.get("relative") else {}
        desk.deliver(ControlEvent(str(row["to"]), tuple(row.get("args", ())), row["t"], str(row.get("from", "")), meta))


def to_clip(show: Show, log: Path, out: Path, device: str, seconds: float | None, folder: Path) -> Rendered:
    """`render` with a progress bar on standard error.

    A terminal that stands still stops the rendering, since rich draws under a lock. That is fine: no show is on air.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rendering", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return render(show, log, out, device, seconds, folder, progress)


def render(show: Show, log: Path, out: Path, device: str = "auto", seconds: float | None = None,
           folder: Path = Path(), progress: OnProgress = lambda done, total: None) -> Rendered:  # fmt: skip
    """Write the clip.

    seconds: how much of the log; None renders all of it. folder: from which the show's relative paths of media start.
    Raises OSError or ValueError, with the fix, for a log that cannot be read or a file that cannot be written.
    """
    from worldjockey.integrations.recording import FileOutput
    from worldjockey.model import load
    from worldjockey.model.registry import offline

    fmt = VideoFormat(show.width, show.height, show.fps_num, show.fps_den, show.name)
    seconds = duration(log) if seconds is None else seconds
    total = math.ceil(seconds * fmt.fps_num / fmt.fps_den)
    output, scaler, digest = FileOutput(out), Scaler("yuv420p", show.width, show.height), hashlib.sha256()
    world = load(offline(show.model), device=device, aspect=show.width / show.height)
    getattr(world, "settle", int)()
    output.open(fmt)
    done = 0
    try:
        pixels = np.empty(shape_of("yuv420p", show.width, show.height), np.uint8)
        for tick, frame in zip(itertools.count(), frames(show, log, world, seconds, folder), strict=False):
            digest.update(np.ascontiguousarray(frame).tobytes())
            scaler.into(frame, pixels)
            output.send(Frame(pixels[..., 0], tick, tick * fmt.fps_den / fmt.fps_num))
            done = tick + 1
            progress(done, total)
    finally:
        output.close()
    return Rendered(str(output.path), done, round(done / fmt.fps, 3), digest.hexdigest())

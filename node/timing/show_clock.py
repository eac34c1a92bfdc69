"""The show clock: beats against time, set by tapping, by MIDI clock or by an Ableton Link session."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from .tempo import JUMP_BEATS, MIDI_TIMEOUT_S, TAP_BOUNCE_S, TAP_PAUSE_S, TAPS_KEPT, Line, Meter, MidiClock, tapped

Source = Literal["auto", "tap", "midi", "link"]
SOURCES: tuple[Source, ...] = ("auto", "tap", "midi", "link")
LINK_TIMEOUT_S = 3.0  # without a report from Link, after which its session is no longer followed


class ShowClock:
    """Every method may be called from any thread.

    Source "auto" follows a MIDI clock while there is one, and tapping otherwise; Link is followed only with source
    "link". When a source falls silent, the clock continues at the last tempo.
    """

    def __init__(self, bpm: float = 120.0, now: float = 0.0, meter: Meter | None = None) -> None:
        self.meter = meter or Meter()
        self.lead: Callable[[float], None] = lambda bpm: (
            None
        )  # called when the performer sets the tempo of a Link session
        self.jumped = 0.0  # sum of all jumps of the clock, in beats: scheduled cues are moved by them
        self._lock = threading.RLock()
        self._line = Line(now, 0.0, bpm)
        self._source: Source = "auto"
        self._midi = MidiClock()
        self._link: tuple[Line, int] | None = None  # and its peers
        self._taps: deque[float] = deque(maxlen=TAPS_KEPT)
        self._downbeat = 0.0  # beats from the leader's downbeat to ours
        self._nudge = 0.0  # seconds by which beats are shown earlier

    def obey(self, name: str, value: Any, now: float) -> None:
        """Apply one of the `tempo` parameters; value is coerced."""
        with self._lock:
            match name:
                case "tempo":
                    if self.following(now) == "link":
                        self.lead(float(value))
                    else:
                        self._line = self._line.at_tempo(float(value), now)
                case "tempo/source":
                    self._source, self._downbeat = value, 0.0
                    self._follow(now)
                case "tempo/tap":
                    self._tap(now)
                case "tempo/downbeat":
                    beat = self.line(now).beat_at(now)
                    phrase = self.meter.beats("phrase")
                    self._move(round(beat / phrase) * phrase - round(beat))
                case "tempo/nudge":
                    self._nudge = float(value) / 1e3
                case "tempo/bar":
                    self.meter = replace(self.meter, bar=int(value))
                case "tempo/phrase":
                    self.meter = replace(self.meter, phrase=int(value))

    def on_clock(self, kind: str, time: float, value: int = 0) -> None:
        """A MIDI input's clock: tick, start, stop, continue, or position in sixteenths."""
        with self._lock:
            self._midi = self._midi.event(kind, time, value)
            if kind in ("start", "position"):
                self._downbeat = 0.0  # the song position sets the downbeat
            if self.following(time) == "midi":
                self._follow(time)

    def on_link(self, time: float, beat: float, bpm: float, peers: int) -> None:
        """A report of the Link session: its beat and tempo at a time."""
        with self._lock:
            self._link = (Line(time, beat, bpm), peers)
            if self._source == "link":
                self._follow(time)

    def set(self, line: Line) -> None:
        """Set the clock to this line, for a control log that is rendered."""
        with self._lock:
            self._take(line, line.time)

    def following(self, now: float) -> Source:
        """The source that sets the tempo now: "tap", "midi" or "link"."""
        if (
            self._source in ("auto", "midi")
            and self._midi.line is not None
            and now - self._midi.arrived < MIDI_TIMEOUT_S
        ):
            return "midi"
        if self._source == "link" and self._link is not None and now - self._link[0].time < LINK_TIMEOUT_S:
            return "link"
        return "tap"

    def line(self, now: float) -> Line:
        """Beats against time as shown by frames, with the nudge."""
        with self._lock:
            line = self._line
            return line.shifted(self._nudge * line.bpm / 60) if self._nudge else line

    @property
    def bpm(self) -> float:
        return self._line.bpm

    def status(self, now: float) -> dict[str, Any]:
        with self._lock:
            beat = self._line.beat_at(now)
            status: dict[str, Any] = {
                "bpm": round(self._line.bpm, 2), "source": self.following(now), "beat": round(beat, 2),
                "playing": self._midi.playing,
            }  # fmt: skip
            return status | ({"peers": self._link[1]} if self._link else {})

    def _tap(self, now: float) -> None:
        if self.following(now) != "tap":
            self._move(
                round(self._line.beat_at(now)) - self._line.beat_at(now)
            )  # only the beat is moved, the tempo is the leader's
            return
        if self._taps and 0 <= now - self._taps[-1] < TAP_BOUNCE_S:
            return
        if self._taps and not 0 < now - self._taps[-1] < TAP_PAUSE_S:
            self._taps.clear()
        self._taps.append(now)
        self._line = tapped(self._line, list(self._taps))  # moves by less than half a beat, so bars stay

    def _move(self, beats: float) -> None:
        self._downbeat += beats
        self._line = self._line.shifted(beats)
        self.jumped += beats

    def _follow(self, now: float) -> None:
        leader = self.following(now)
        line = self._midi.line if leader == "midi" else self._link[0] if leader == "link" and self._link else None
        if line is not None:
            self._take(line.shifted(self._downbeat), now)

    def _take(self, line: Line, now: float) -> None:
        step = line.beat_at(now) - self._line.beat_at(now)
        if abs(step) > JUMP_BEATS:
            self.jumped += step
        self._line = line

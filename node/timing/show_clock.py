"""The show clock: one line of beats, kept by a hand's taps, by MIDI clock or by an Ableton Link session."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from .tempo import BOUNCE, JUMP, LOST, PAUSE, TAPS, Line, Meter, MidiClock, tapped

Source = Literal["auto", "tap", "midi", "link"]
SOURCES: tuple[Source, ...] = ("auto", "tap", "midi", "link")
STALE = 3.0  # seconds after which a Link session that says nothing is not followed any more


class ShowClock:
    """Every method may be called from any thread.

    source "auto" follows a MIDI clock while there is one, and taps else; Link is joined only by name. Whatever falls
    silent leaves the clock running at its last tempo.
    """

    def __init__(self, bpm: float = 120.0, now: float = 0.0, meter: Meter | None = None) -> None:
        self.meter = meter or Meter()
        self.lead: Callable[[float], None] = lambda bpm: None  # told when a hand sets the tempo of a Link session
        self.jumped = 0.0  # beats by which the clock was ever moved at once: what waits for a beat moves with it
        self._lock = threading.RLock()
        self._line = Line(now, 0.0, bpm)
        self._source: Source = "auto"
        self._midi = MidiClock()
        self._link: tuple[Line, int] | None = None  # and its peers
        self._taps: deque[float] = deque(maxlen=TAPS)
        self._downbeat = 0.0  # beats that our one is away from the leader's
        self._nudge = 0.0  # seconds by which the picture's beat comes earlier

    def obey(self, name: str, value: Any, now: float) -> None:
        """One of the `tempo` parameters, coerced, or a trigger of theirs."""
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
                self._downbeat = 0.0  # the song says where one is
            if self.following(time) == "midi":
                self._follow(time)

    def on_link(self, time: float, beat: float, bpm: float, peers: int) -> None:
        """What the Link session says: its beat at a time."""
        with self._lock:
            self._link = (Line(time, beat, bpm), peers)
            if self._source == "link":
                self._follow(time)

    def set(self, line: Line) -> None:
        """Take this line as it is, for a log that is played again."""
        with self._lock:
            self._take(line, line.time)

    def following(self, now: float) -> Source:
        """Who keeps the tempo: "tap", "midi" or "link"."""
        if self._source in ("auto", "midi") and self._midi.line is not None and now - self._midi.arrived < LOST:
            return "midi"
        if self._source == "link" and self._link is not None and now - self._link[0].time < STALE:
            return "link"
        return "tap"

    def line(self, now: float) -> Line:
        """Beats as the picture shall show them, nudge included."""
        with self._lock:
            line = self._line
            return line.shifted(self._nudge * line.bpm / 60) if self._nudge else line

    @property
    def bpm(self) -> float:
        return self._line.bpm

    def status(self, now: float) -> dict[str, Any]:
        with self._lock:
            beat = self._line.beat_at(now)
            said: dict[str, Any] = {
                "bpm": round(self._line.bpm, 2), "source": self.following(now), "beat": round(beat, 2),
                "playing": self._midi.playing,
            }  # fmt: skip
            return said | ({"peers": self._link[1]} if self._link else {})

    def _tap(self, now: float) -> None:
        if self.following(now) != "tap":
            self._move(round(self._line.beat_at(now)) - self._line.beat_at(now))  # the leader's tempo, our beat
            return
        if self._taps and 0 <= now - self._taps[-1] < BOUNCE:
            return
        if self._taps and not 0 < now - self._taps[-1] < PAUSE:
            self._taps.clear()
        self._taps.append(now)
        self._line = tapped(self._line, list(self._taps))  # within half a beat: nobody's bar moves by it

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
        if abs(step) > JUMP:
            self.jumped += step
        self._line = line

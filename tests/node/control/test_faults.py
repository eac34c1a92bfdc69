"""Whatever fails on the desk by itself is dropped and reported once; everything else goes on."""

import pytest
from worldjockey.integrations import ControlEvent
from worldjockey.node.control import cues, modulators
from worldjockey.node.control.cues import Ramps
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.show.schema import Show
from worldjockey.node.timing import schedule
from worldjockey.node.timing.show_clock import ShowClock

SHOW = """
cues:
  - {name: a, values: {energy: 1, morph: 1}, seconds: 2, curve: linear}
  - {name: b, values: {speed: 2}, quantise: bar}
modulators:
  - {shape: saw, rate: 1, depth: 0.5, to: cam/yaw}
  - {shape: square, rate: 1, depth: 0.5, to: cam/zoom}
"""


class Clock(ShowClock):
    """Fails from `until` on."""

    until = float("inf")

    def line(self, now):
        if now > self.until:
            raise ArithmeticError("no beat")
        return super().line(now)


class Log:
    def control(self, control, waits):
        raise OSError("no disk")

    line = control


@pytest.fixture
def box():
    made = Mailbox()
    yield made
    made.unlink()


@pytest.fixture
def desk(box):
    return Desk(Show.parse(SHOW), box, Clock(120, now=1000))


def breaks(real, when, error):
    def broken(*args, **options):
        if when(*args, **options):
            raise error
        return real(*args, **options)

    return broken


def run(desk, begin, end):
    for n in range(round((end - begin) * 100)):
        desk.advance(begin + n / 100)


def test_a_faulty_modulator_is_switched_off_and_the_others_go_on(desk, box, monkeypatch):
    wave = breaks(modulators.wave, lambda shape, *_: shape == "saw", ZeroDivisionError("no such phase"))
    monkeypatch.setattr(modulators, "wave", wave)
    run(desk, 1000, 1000.3)
    assert desk.errors == ["modulator 1 is off: ZeroDivisionError: no such phase"]
    assert desk.survived == 1
    assert desk.read("mod/1/depth") == 0
    assert desk.changed()["mod/1/depth"] == 0, "controllers see it"
    assert box.read().values["cam/zoom"] == pytest.approx(0.5)
    monkeypatch.undo()
    desk.deliver(ControlEvent("mod/1/depth", (0.5,), 1000.3, "a hand"))
    run(desk, 1000.3, 1000.6)
    assert box.read().values["cam/yaw"] != 0, "a hand switches it on again"


def test_a_fader_that_cannot_go_its_way_stays_and_the_others_arrive(desk, box, monkeypatch):
    pass_on = breaks(Ramps.pass_on, lambda self, name, now: name == "energy", OverflowError("beyond all numbers"))
    monkeypatch.setattr(Ramps, "pass_on", pass_on)
    desk.deliver(ControlEvent("cue/go", ("a",), 1000.0, "a hand"))
    run(desk, 1000, 1002.5)
    assert desk.errors == ["the ramp of energy: OverflowError: beyond all numbers"]
    assert desk.survived == 1, "it is let go"
    assert box.read().values["morph"] == 1
    desk.deliver(ControlEvent("energy", (0.3,), 1002.5, "a hand"))
    assert box.read().values["energy"] == pytest.approx(0.3)


def test_a_cue_that_fails_when_its_beat_comes_is_passed_over(desk, box, monkeypatch):
    desk.deliver(ControlEvent("cue/go", ("b",), 1000.3, "a hand"))
    monkeypatch.setattr(cues, "changes", breaks(None, lambda *_: True, RuntimeError("no such pad")))
    run(desk, 1000.3, 1003)
    assert desk.errors == ["cue/go 2: no such pad"]
    monkeypatch.undo()
    desk.deliver(ControlEvent("cue/go", ("b",), 1003.0, "a hand"))
    run(desk, 1003, 1006)
    assert box.read().values["speed"] == 2


def test_what_waits_is_dropped_when_its_beat_cannot_be_found(desk, monkeypatch):
    desk.deliver(ControlEvent("cue/go", ("b",), 1000.3, "a hand"))
    monkeypatch.setattr(schedule.Waiting, "lands", breaks(None, lambda *_: True, ValueError("no such beat")))
    run(desk, 1000.3, 1003)
    assert desk.errors == ["the schedule: no such beat"]
    assert desk.survived == 1


def test_without_a_clock_or_a_log_faders_still_move(desk, box):
    desk.clock.until = 1000.5
    desk.log = Log()
    desk.deliver(ControlEvent("cue/go", ("a",), 1000.0, "a hand"))
    run(desk, 1000, 1003)
    assert box.read().values["energy"] == 1
    assert desk.counts == {"obeyed": 1, "refused": 0}
    assert desk.errors == ["the log: no disk", "the clock: ArithmeticError: no beat"]
    assert desk.survived > 100, "counted each time, told once"


def test_no_input_is_ever_answered_with_an_exception(desk, monkeypatch):
    monkeypatch.setattr(cues, "choose", breaks(None, lambda *_: True, RuntimeError("broken")))
    desk.deliver(ControlEvent("cue/go", ("a",), 1000.0, "a hand"))
    assert desk.counts == {"obeyed": 0, "refused": 1}
    assert desk.error == "a hand: broken"


def test_errors_without_end_are_counted_and_the_first_are_kept_in_words(box):
    class Disk:
        def __init__(self):
            self.failed = 0

        def control(self, control, waits):
            self.failed += 1
            raise OSError(f"block {self.failed} is bad")

        def line(self, line, now):
            pass

    desk = Desk(Show.parse(""), box, Clock(120, now=1000), log=Disk())
    for n in range(500):
        desk.deliver(ControlEvent("energy", (n / 500,), 1000.0, "a hand"))
    assert desk.survived == 500
    assert len(desk.errors) == 20
    assert desk.errors[0] == "the log: block 1 is bad"
    assert desk.counts == {"obeyed": 500, "refused": 0}

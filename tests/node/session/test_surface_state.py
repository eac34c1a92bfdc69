"""What the surface is shown besides the values of parameters."""

import pytest
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.session.surface_state import SurfaceState
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.show_clock import ShowClock

SHOW = """
values: {energy: 0.5}
sound: {enabled: true, map: [{of: bass, to: cam/zoom}, {of: onset, to: sound/onset}]}
modulators:
  - {shape: square, beats: 1, depth: 0.4, to: energy}
  - {shape: envelope, to: cam/yaw, fire: sound/onset}
"""


@pytest.fixture
def build():
    """Returns a function that gives "show" and "status" at a time in seconds; beat 0 is at 1000 s, 120 beats a
    minute."""
    mailbox = Mailbox()
    desk = Desk(Show.parse(SHOW), mailbox, ShowClock(120, now=1000))
    state = SurfaceState(desk, ())

    def at(now, midi=None):
        desk.advance(now)
        built = state.build(now, {}, {}, {}, {}, {"midi": midi or {}}, {})
        return built["show"], built["status"]

    at.desk = desk
    yield at
    mailbox.unlink()


def test_what_sound_is_wired_to_is_listed(build):
    show, _ = build(1000.0)
    assert show["sound"] == [{"of": "bass", "to": "cam/zoom"}, {"of": "onset", "to": "sound/onset"}]
    assert show["fires"] == {"2": ["sound/onset"]}


def test_what_modulators_move_has_its_present_value(build):
    _, status = build(1000.0)
    assert status["moved"] == {"cam/yaw": 0.0, "energy": pytest.approx(0.7)}
    _, status = build(1000.25)
    assert status["moved"]["energy"] == pytest.approx(0.3), "the other half of the beat"
    build.desk.deliver(ControlEvent("mod/1/depth", (0.0,), 1000.25, "a test"))
    _, status = build(1000.5)
    assert "energy" not in status["moved"]


def test_a_fader_that_waits_is_listed(build):
    fader = {"kind": "cc", "number": 1, "channel": None, "device": None, "target": "energy", "at": 0.9}
    _, status = build(1000.0, {"pickup": [fader]})
    assert status["pickup"] == [{"text": "CC 1", "to": "energy", "at": 0.9}]

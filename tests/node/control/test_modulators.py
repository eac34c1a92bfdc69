"""Oscillators and envelopes: in range whatever is played, on the beat, and gone without a trace when taken away."""

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.modulators import Modulators
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PARAMETERS, SHAPES
from worldjockey.node.show.modulators import targets_of
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.oscillators import Envelope, Press, noise, wave
from worldjockey.node.timing.show_clock import ShowClock

WAVES = [shape for shape in SHAPES if shape != "envelope"]
times = st.floats(0, 1e4)


@pytest.fixture
def play():
    """`play(show)` gives a desk at 120 bpm whose beat 0 is at 1000 s, and what the world reads."""
    boxes = []

    def make(text):
        boxes.append(Mailbox())
        return Desk(Show.parse(text), boxes[-1], ShowClock(120, now=1000)), boxes[-1]

    yield make
    for box in boxes:
        box.unlink()


def send(desk, target, *args, at=1000.0):
    desk.deliver(ControlEvent(target, args, at, "the test"))
    assert not desk.error


@given(st.sampled_from(WAVES), st.floats(-1e4, 1e4), st.integers(1, 8))
def test_a_wave_stays_between_its_ends_and_comes_round(shape, phase, seed):
    value = wave(shape, phase, seed)
    assert -1 <= value <= 1
    if shape in ("sine", "triangle"):
        assert wave(shape, phase + 1, seed) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "quarters"),
    [("sine", (0, 1, 0, -1)), ("triangle", (0, 1, 0, -1)), ("saw", (-1, -0.5, 0, 0.5)), ("square", (1, 1, -1, -1))],
)
def test_waves_are_those_of_the_field(shape, quarters):
    assert [wave(shape, n / 4) for n in range(4)] == pytest.approx(list(quarters), abs=1e-9)


@given(st.integers(0, 10_000), st.floats(0, 0.999))
def test_sample_and_hold_holds_and_random_glides_between_the_same_values(cycle, part):
    assert wave("sample-and-hold", cycle + part, 3) == noise(3, cycle)
    assert wave("random", cycle, 3) == noise(3, cycle)
    ends = sorted((noise(3, cycle), noise(3, cycle + 1)))
    assert ends[0] - 1e-9 <= wave("random", cycle + part, 3) <= ends[1] + 1e-9


def test_noise_is_spread_evenly_and_differs_from_modulator_to_modulator():
    values = [noise(1, n) for n in range(2000)]
    assert abs(sum(values) / 2000) < 0.05
    assert min(values) < -0.99
    assert max(values) > 0.99
    assert values != [noise(2, n) for n in range(2000)]


envelopes = st.builds(Envelope, st.floats(0, 2), st.floats(0, 2), st.floats(0, 1), st.floats(0, 2))


@given(envelopes, st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.booleans()), max_size=20), st.floats(0, 5))
def test_an_envelope_stays_within_its_range_whatever_is_pressed(envelope, moves, after):
    press, now = Press(), 0.0
    for gap, down, hold in moves:
        now += gap
        before = press.level(envelope, now)
        if down:
            press.press(envelope, now, hold)
            if envelope.attack > 0:
                assert press.level(envelope, now) == pytest.approx(before), "no click when it is pressed again"
        elif press.up is None:
            press.up = now
        assert 0 <= press.level(envelope, now) <= 1
    assert 0 <= press.level(envelope, now + after) <= 1


def test_an_envelope_attacks_decays_holds_and_lets_go():
    envelope, press = Envelope(1.0, 2.0, 0.5, 4.0), Press()
    press.press(envelope, 10.0, hold=True)
    assert [press.level(envelope, t) for t in (10, 10.5, 11, 12, 13, 99)] == [0, 0.5, 1, 0.75, 0.5, 0.5]
    press.up = 100.0
    assert [press.level(envelope, t) for t in (100, 102, 104, 200)] == [0.5, 0.25, 0, 0]
    press.press(envelope, 300.0, hold=False)
    assert press.level(envelope, 303 + 2) == 0.25, "a trigger lets go by itself"


def test_targets_are_faders_of_the_picture():
    assert [p.name for p in targets_of("energy, cam/yaw,word/Storm")] == ["energy", "cam/yaw", "word/storm"]
    for wrong, words in (("enrgy", "'energy'"), ("tempo", "faders"), ("act", "faders"), ("mod/1/depth", "faders")):
        with pytest.raises(ValueError, match=words):
            targets_of(wrong)


def test_a_synced_oscillator_is_where_the_beat_is(play):
    desk, box = play("modulators: [{shape: triangle, beats: 4, depth: 0.5, to: cam/yaw}]")
    seen = []
    for beat in range(8):
        desk.advance(1000 + beat / 2)
        seen.append(box.read().values["cam/yaw"])
    assert seen == pytest.approx([0, 0.5, 0, -0.5] * 2, abs=1e-6)
    assert desk.read("cam/yaw") == 0, "the fader is where the hand left it"


def test_a_free_oscillator_runs_in_seconds_and_its_rate_is_played_without_a_jump(play):
    desk, box = play("modulators: [{shape: saw, rate: 0.5, depth: 1, to: cam/yaw}]")
    seen = []
    for n in range(100):
        if n == 50:
            send(desk, "mod/1/rate", 0.05, at=1000 + n / 100)
        desk.advance(1000 + n / 100)
        seen.append(box.read().values["cam/yaw"])
    assert seen[50] - seen[0] == pytest.approx(2 * 0.5 * 0.5, abs=0.02)
    assert max(abs(b - a) for a, b in itertools.pairwise(seen)) < 0.02


def test_a_hand_moves_the_middle_and_removing_the_modulator_leaves_it_there(play):
    desk, box = play("modulators: [{shape: square, beats: 2, depth: 0.5, to: energy}]\nvalues: {energy: 0.5}")
    desk.advance(1000.1)
    assert box.read().values["energy"] == pytest.approx(0.75)
    send(desk, "energy", 0.3)
    assert box.read().values["energy"] == pytest.approx(0.55), "at once"
    desk.advance(1000.6)
    assert box.read().values["energy"] == pytest.approx(0.05)
    send(desk, "mod/1/depth", 0)
    desk.advance(1000.7)
    assert box.read().values["energy"] == pytest.approx(0.3)
    send(desk, "mod/1/to", "")
    send(desk, "mod/1/depth", 1)
    desk.advance(1000.8)
    assert box.read().values["energy"] == pytest.approx(0.3), "it moves nothing now"


def test_a_free_oscillator_goes_on_where_it_was_after_a_pause(play):
    desk, box = play("modulators: [{shape: saw, rate: 1, depth: 1, to: cam/yaw}]")
    desk.advance(1000.0)
    desk.advance(1000.2)
    before = box.read().values["cam/yaw"]
    desk.advance(1010.6)  # nobody moved it for ten seconds: a quarter of a cycle, not ten and a half
    assert box.read().values["cam/yaw"] - before == pytest.approx(0.5)


def test_words_are_modulated_and_given_back(play):
    desk, box = play("modulators: [{shape: square, beats: 2, depth: 0.2, to: word/storm}]")
    send(desk, "word/storm", 0.5)
    desk.advance(1000.1)
    assert box.words()[0] == {"storm": pytest.approx(0.8)}
    assert desk.read("word/storm") == 0.5
    send(desk, "mod/1/depth", 0)
    desk.advance(1000.2)
    assert box.words()[0] == {"storm": 0.5}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["mod/1/depth", "mod/1/rate", "mod/1/beats", "mod/1/offset", "mod/1/shape", "mod/1/fire", "energy"]
            ),
            st.floats(-300, 300),
            st.floats(0, 1),
        ),
        max_size=30,
    )
)
@example([("mod/1/beats", 1e-308, 1.0)])
def test_whatever_is_played_the_picture_gets_values_in_range(moves):
    box = Mailbox()
    try:
        desk, now = Desk(Show.parse("modulators: [{depth: 1, to: [energy, cam/zoom]}]"), box, ShowClock(120)), 0.0
        for target, value, gap in moves:
            now += gap
            desk.deliver(ControlEvent(target, (value,), now or 0.001, "the test"))
            desk.advance(now)
            for name in ("energy", "cam/zoom"):
                assert PARAMETERS[name].low <= box.read().values[name] <= PARAMETERS[name].high
        assert not desk.error
        desk.deliver(ControlEvent("mod/1/depth", (0,), now + 1, "the test"))
        desk.advance(now + 1)
        assert box.read().values["energy"] == pytest.approx(desk.read("energy"))
    finally:
        box.unlink()


ENVELOPE = """
modulators:
  - {shape: envelope, attack: 0.1, decay: 0, sustain: 1, release: 0.1, depth: 0.5, to: cam/zoom,
     fire: [act/jump, sound/onset]}
"""


def test_triggers_and_onsets_play_an_envelope(play):
    desk, box = play(ENVELOPE)

    def zoom(at):
        desk.advance(at)
        return box.read().values["cam/zoom"]

    assert zoom(1000.0) == 0
    send(desk, "act/jump", at=1001.0)
    assert zoom(1001.1) == pytest.approx(1.0)
    assert zoom(1001.3) == 0
    send(desk, "sound/onset", 1.0, at=1002.0)
    assert zoom(1002.05) == pytest.approx(0.5)
    assert zoom(1005.0) == pytest.approx(1.0), "held as long as the onset is"
    send(desk, "sound/onset", 0.0, at=1006.0)
    assert zoom(1006.05) == pytest.approx(0.5)
    assert zoom(1006.2) == 0
    send(desk, "mod/1/fire", at=1007.0)
    assert zoom(1007.05) == pytest.approx(0.5)


def test_two_modulators_of_one_fader_add_up(play):
    desk, box = play("modulators: [{shape: square, depth: 0.2, to: cam/yaw}, {shape: square, depth: 0.3, to: cam/yaw}]")
    desk.advance(1000.1)
    assert box.read().values["cam/yaw"] == pytest.approx(0.5)


def test_a_modulator_is_no_hand_to_measure_latency_by(play):
    desk, box = play("modulators: [{beats: 1, depth: 1, to: cam/yaw}]")
    send(desk, "energy", 0.5, at=1000.0)
    for n in range(50):
        desk.advance(1000 + n / 100)
    assert box.read().newest_control_at == 1000.0


def test_panic_stills_modulators_and_undo_brings_them_back(play):
    desk, box = play("modulators: [{shape: square, depth: 1, to: blackout}]")
    desk.advance(1000.1)
    assert box.read().values["blackout"] == 0.5
    send(desk, "panic", at=1000.2)
    desk.advance(1000.3)
    assert box.read().values["blackout"] == 0
    send(desk, "undo", at=1000.4)
    desk.advance(1000.45)
    assert box.read().values["blackout"] == 0.5


@given(times)
def test_a_bank_without_modulators_moves_nothing(now):
    values = Show.parse("").initial()
    assert Modulators().offsets(values, now, ShowClock(120).line(now), ShowClock().meter) == {}
    assert math.isfinite(now)

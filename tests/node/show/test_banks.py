"""Banks of pads: what is under the hands, what goes on sounding, and that cues, snapshots, undo and logs obey."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.midi.lights import Lights
from worldjockey.integrations.midi.parse import Event
from worldjockey.integrations.midi.player import Translator
from worldjockey.integrations.midi.rules import Controller, Rule
from worldjockey.model import Tokens, load
from worldjockey.node.control.control_log import ControlLog
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PADS
from worldjockey.node.session.render import frames
from worldjockey.node.show.banks import TEXTS, WEIGHTS, Banks
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError
from worldjockey.node.timing.show_clock import ShowClock
from worldjockey.node.world.prompt_deck import Deck

TEXT = """
banks:
  Day: [sea, {text: dunes, label: sand}, meadow]
  night: [city, {text: moon, label: moon}]
  rave: [lasers, "", smoke, strobe]
modulators:
  - {to: pad/3, depth: 0}
cues:
  - {name: dusk, bank: night, pads: {moon: 1}, seconds: 2}
  - {name: noon, bank: 1, pads: {sand: 0.5}}
  - {name: hands, bank: rave}
  - {name: down, pads: {}, seconds: 1}
"""
SHOW = Show.parse(TEXT)


class Hands:
    """A desk that is played; time passes as the test says."""

    def __init__(self, show=SHOW):
        self.box, self.now = Mailbox(), 1000.0
        self.desk = Desk(show, self.box, ShowClock(120, now=self.now))
        self.sent = []

    def send(self, target, *args, **meta):
        self.sent.append(ControlEvent(target, args, self.now, "a hand", meta))
        self.desk.deliver(self.sent[-1])

    def pass_time(self, seconds):
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            self.desk.advance(self.now)

    def pad(self, n):
        return self.desk.read(f"pad/{n}/text"), self.desk.read(f"pad/{n}")

    def all(self):
        return {name: self.desk.read(name) for name in ("bank", *WEIGHTS, *TEXTS)}

    def active(self):
        """The prompts that the world gets: of each pad with a weight above 0, with that weight."""
        values = self.box.read().values
        return {self.box.text(f"{name}/text").text: values[name] for name in WEIGHTS if values[name] > 0}


@pytest.fixture
def hands():
    made = Hands()
    yield made
    made.box.unlink()


def test_a_bank_is_a_number_a_name_the_next_or_the_one_before(hands):
    for key, number in ((2, 2), ("RAVE", 3), (1.0, 1), ("2", 2), (99, 3), (0, 1)):
        hands.send("bank", key)
        assert (hands.desk.read("bank"), hands.desk.bank) == (number, ["Day", "night", "rave"][number - 1])
    for target, number in (("next", 2), ("next", 3), ("next", 1), ("previous", 3)):
        hands.send(f"bank/{target}")
        hands.send(f"bank/{target}", 0)  # the button comes up
        assert hands.desk.read("bank") == number
    hands.send("bank", -1, relative=True)
    assert hands.desk.read("bank") == 2
    hands.send("bank", "nihgt")
    assert "did you mean 'night'" in hands.desk.error


def test_switching_changes_what_pads_reach_and_not_what_sounds(hands):
    hands.send("pad/1", 0.75)
    before = hands.active()
    hands.send("bank/next")
    assert hands.active() == before == {"sea": 0.75}
    assert hands.pad(2) == ("moon", 0.0)
    hands.send("pad/2", 0.25)
    hands.send("pad/1", 0.5)  # the fader rides what sounds
    assert hands.active() == {"sea": 0.5, "moon": 0.25}
    hands.send("pad/1", 0)  # the key that was pressed in the other bank is let go
    assert hands.active() == {"moon": 0.25}
    hands.send("pad/1", 1)
    assert hands.active() == {"city": 1.0, "moon": 0.25}


def test_there_and_back_is_as_it_was(hands):
    hands.send("pad/2", 1)
    before = hands.all()
    hands.send("bank", 3)
    hands.send("bank", 1)
    assert hands.all() == before


def test_what_is_written_on_a_pad_stays_in_its_bank(hands):
    hands.send("pad/1/text", "a lake")
    hands.send("bank", 2)
    hands.send("pad/1/text", "an alley")
    hands.send("bank", 1)
    assert hands.pad(1)[0] == "a lake"
    hands.send("bank", 2)
    assert hands.pad(1)[0] == "an alley"


def test_writing_on_a_pad_that_sounds_takes_over(hands):
    hands.send("pad/1", 1)
    hands.send("bank", 2)
    hands.send("pad/1/text", "a garden")
    assert hands.active() == {"a garden": 1.0}
    hands.send("undo")
    assert hands.active() == {"sea": 1.0}
    hands.send("pad/1", 0)
    assert hands.pad(1) == ("city", 0.0), "undone in its bank, too"


def test_undo_of_a_switch_and_of_a_release(hands):
    hands.send("pad/1", 0.5)
    hands.now += 2
    hands.send("bank", 2)
    hands.now += 2
    hands.send("pad/1", 0)
    assert hands.pad(1) == ("city", 0)
    hands.send("undo")
    assert hands.pad(1) == ("sea", 0.5)
    assert hands.desk.read("bank") == 2
    hands.send("undo")
    assert (hands.desk.read("bank"), hands.pad(2)[0]) == (1, "dunes")


def test_a_cue_finds_its_pads_whatever_is_under_the_hands(hands):
    hands.send("pad/1", 1)  # sea: goes down as it is
    hands.send("pad/2", 0.5)  # dunes: the cue's own prompt takes over
    hands.send("cue/go", "dusk")
    hands.pass_time(1)
    assert set(hands.active()) == {"sea", "moon"}
    hands.pass_time(1.5)
    assert hands.active() == {"moon": 1.0}
    assert (hands.desk.read("bank"), hands.pad(1)) == (2, ("city", 0.0))
    hands.send("cue/go", "noon")
    assert hands.active() == {"dunes": 0.5}
    hands.send("cue/go", "hands")
    assert (hands.active(), hands.pad(1)[0]) == ({"dunes": 0.5}, "lasers")
    hands.send("undo")
    hands.send("undo")
    assert hands.active() == {"moon": 1.0}


def test_a_snapshot_brings_back_both_banks(hands):
    hands.send("pad/1", 0.5)
    hands.send("bank", "night")
    hands.send("pad/2", 0.5)
    kept = hands.all()
    hands.send("snapshot/save", "both")
    hands.send("panic")
    hands.send("bank", "rave")
    hands.send("pad/3", 1)
    hands.send("snapshot/recall", "both", 1)
    hands.pass_time(1.2)
    assert hands.all() == kept
    assert hands.active() == {"sea": 0.5, "moon": 0.5}


def test_a_switch_while_a_snapshot_comes_back_takes_nothing_from_it(hands):
    hands.send("pad/1", 1)
    hands.send("bank", 2)
    hands.send("snapshot/save", "sea")
    hands.send("panic")
    hands.send("snapshot/recall", "sea", 1)
    hands.desk.advance(hands.now)  # its very first moment: the weight is still 0
    hands.send("bank", 3)
    hands.pass_time(1.2)
    assert hands.active() == {"sea": 1.0}


def test_a_modulated_pad_sounds_until_its_modulator_lets_go(hands):
    hands.send("mod/1/shape", "square")
    hands.send("mod/1/depth", 1)
    while not hands.active():
        hands.pass_time(0.05)
    hands.send("bank", 3)
    assert set(hands.active()) == {"meadow"}
    while hands.active():
        hands.pass_time(0.05)
    assert hands.pad(3)[0] == "smoke"


def test_a_controller_switches_banks_and_shows_which_is_there(hands):
    """Bytes from and for an APC mini mk2: bank buttons in the fifth row, pads in the top two."""
    controllers = [Controller.of(fields) for fields in SHOW.midi.controllers()]
    port = "APC mini mk2 Control"
    player, lights = Translator([], controllers, hands.desk.read), Lights(hands.desk.read)
    lights.plug(port, port, player.table(port))
    now = 0.0
    while not lights.settled or not now:
        now += 1
        lights.due(now)

    def press(number, velocity):
        for target, args in player.play(Event("note" if velocity else "off", 1, number, velocity), port):
            hands.send(target, *args)

    press(25, 127)
    press(25, 0)
    assert hands.desk.bank == "night"
    for target, value in hands.desk.changed().items():
        lights.note(target, value)
    shown = [message for _, message in lights.due(now + 1)]
    assert sorted(shown) == [(0x90, 24, 13), (0x96, 25, 13)]


def test_a_key_held_through_a_switch_is_let_go(hands):
    player = Translator([Rule(**fields) for fields in SHOW.midi.rules()], read=hands.desk.read)

    def play(kind, number, value):
        for target, args in player.play(Event(kind, 1, number, value), "keys"):
            hands.send(target, *args)

    play("note", 36, 127)
    hands.send("bank", 2)
    play("poly", 36, 64)
    assert hands.active() == {"sea": 64 / 127}, "aftertouch rides what is held"
    play("note", 37, 127)
    play("off", 36, 0)
    assert hands.active() == {"moon": 1.0}


names = st.sampled_from([*WEIGHTS][:4])
moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("bank", "cue/jump", "cue/go")), st.integers(1, 3)),
        st.tuples(names, st.sampled_from((0.0, 0.0, 0.5, 1.0))),
        st.tuples(names.map(lambda name: f"{name}/text"), st.sampled_from(("", "sea", "new", "moon"))),
        st.tuples(st.sampled_from(("bank/next", "bank/previous", "undo", "panic", "cue/stop"))),
        st.tuples(st.sampled_from(("snapshot/save", "snapshot/recall")), st.sampled_from("ab")),
        st.tuples(st.just("wait"), st.floats(0, 2.5)),
    ),
    max_size=15,
)


@given(moves)
@settings(deadline=None, max_examples=60)
def test_inactive_pads_always_have_the_banks_prompts_and_a_switch_changes_nothing(sequence):
    hands = Hands()
    try:
        for target, *args in sequence:
            if target == "wait":
                hands.pass_time(args[0])
            else:
                before = hands.active()
                hands.send(target, *args)
                if target.startswith("bank"):
                    assert hands.active() == before
            banks = hands.desk.store.banks
            assert banks.values == {name: hands.desk.read(name) for name in banks.values}
            for pad in range(1, PADS + 1):
                assert hands.box.text(f"pad/{pad}/text").text == banks.text(pad)
                assert banks.of[pad - 1] == banks.now or pad in hands.desk.store.active_pads()
    finally:
        hands.box.unlink()


@given(moves, moves)
@settings(deadline=None, max_examples=40)
def test_a_log_that_begins_anywhere_is_the_same_again(first, then):
    hands, again = Hands(), Hands()
    try:
        for target, *args in (move for move in first if move[0] != "wait"):
            hands.send(target, *args)
        hands.pass_time(3)  # what a cue still moves is not in a log's head
        again.desk.restore(json.loads(json.dumps(hands.desk.state())), hands.now)
        assert again.all() == hands.all()
        again.now = hands.now
        for target, *args in (move for move in then if move[0] not in ("wait", "undo")):
            hands.send(target, *args)
            again.send(target, *args)
            assert again.active() == hands.active()
        assert again.all() == hands.all()
    finally:
        hands.box.unlink()
        again.box.unlink()


@given(st.integers(0, 2), st.sets(st.integers(1, PADS)))
def test_a_switch_moves_exactly_the_silent_pads(to, sounding):
    before = SHOW.prompts()
    after = before.switched(to, sounding)
    for pad in range(1, PADS + 1):
        assert after.text(pad) == (before.text(pad) if pad in sounding else SHOW.prompts().switched(to).text(pad))
    assert Banks.revived(json.loads(json.dumps(vars(after)))) == after


# -- the deck ----------------------------------------------------------------------------------------------------------


def axis(k):
    values = np.zeros((1, 4), np.float32)
    values[:, k] = 1
    return Tokens(values)


def test_a_pad_that_is_let_go_fades_as_it_is_and_then_has_the_new_prompt():
    deck = Deck()
    for k, slot in enumerate(("prompt", "pad/1")):
        deck.set_tokens(slot, axis(k))
    deck.tokens({"pad/1": 1.0}, {}, 1.0)
    deck.set_tokens("pad/1", axis(2))
    shares = [deck.tokens({"pad/1": 0.0}, {}, 0.02)[0].copy() for _ in range(60)]
    assert shares[0][1] > 0.5
    assert max(share[2] for share in shares) == 0
    assert shares[-1][0] == pytest.approx(1)
    for _ in range(100):
        out = deck.tokens({"pad/1": 1.0}, {}, 0.02)
    np.testing.assert_allclose(out, axis(2).values, atol=1e-4)


def test_a_pad_that_is_raised_again_while_it_fades_crosses_over():
    deck = Deck()
    for k, slot in enumerate(("prompt", "pad/1")):
        deck.set_tokens(slot, axis(k))
    deck.tokens({"pad/1": 1.0}, {}, 1.0)
    deck.set_tokens("pad/1", axis(2))
    deck.tokens({"pad/1": 0.0}, {}, 0.02)
    rising = [deck.tokens({"pad/1": 1.0}, {}, 0.02)[0, 2] for _ in range(100)]
    assert rising[0] < 0.1
    assert rising[-1] == pytest.approx(1, abs=1e-4)


# -- the show file -----------------------------------------------------------------------------------------------------


def test_old_shows_have_one_bank():
    show = Show.parse("pads: [sea, city]")
    assert show.prompts().names == ("1",)
    assert (show.initial()["pad/2/text"], show.initial()["bank"]) == ("city", 1)


def test_a_show_says_which_bank_opens_and_all_are_encoded_ahead():
    show = Show.parse(TEXT + "values: {bank: 2}\n")
    assert (show.initial()["pad/1/text"], show.initial()["bank"]) == ("city", 2)
    assert {"sea", "dunes", "meadow", "city", "moon", "lasers", "smoke", "strobe"} <= set(show.ahead())
    assert Show.parse(show.dump()) == show


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pads: [a]\nbanks: {b: [c]}", "pads or banks"),
        ("banks: {b: [c], B: [d]}", "two banks have the same name"),
        ("banks: {b: [c]}\nvalues: {bank: 2}", "there is no bank 2"),
        ("banks: {b: [c]}\ncues: [{name: x, bank: q}]", "cues.1.bank: there is no bank 'q'"),
        ("banks: {b: [c]}\ncues: [{name: x, bank: 2}]", "there is no bank 2"),
        ("banks: {b: [c], d: [e]}\ncues: [{name: x, pads: {1: 1}}]", "add the bank, as in `bank: b`"),
        ("banks: {b: [{text: c, label: l}], d: [e]}\ncues: [{name: x, bank: d, pads: {l: 1}}]", "no pad 'l'"),
        ("banks: {b: [c]}\ncues: [{name: x, values: {bank: 1}}]", "a line of its own"),
        ("banks:\n  b:\n  - {txt: c}", ":3: banks.b.1.txt: there is no 'txt' here, did you mean 'text'?"),
        (f"banks: {{b: [{', '.join('x' * 17)}]}}", "banks.b"),
    ],
)
def test_errors_are_named(text, words):
    with pytest.raises(ShowError) as error:
        Show.parse(text)
    assert words in str(error.value)


# -- what the audience sees --------------------------------------------------------------------------------------------


def test_a_rendered_log_has_the_banks_that_were_played(hands, tmp_path):
    show = Show.parse("""
prompt: "#000000"
banks: {one: ["#ff0000"], two: ["#00ff00"]}
""")
    desk = Desk(show, hands.box, ShowClock(120, now=1000.0))
    log = ControlLog(tmp_path, desk.state)
    log.start(1000.0)
    desk.log = log
    for second, target, value in (
        (0, "pad/1", 1), (1, "bank", "two"), (2, "pad/1", 0), (3, "pad/1", 1), (4, "bank/previous", 1)
    ):  # fmt: skip
        desk.deliver(ControlEvent(target, (value,), 1000.0 + second, "a hand"))
    log.stop()

    def seen():
        return [tuple(int(v) for v in image[8, 8]) for image in frames(show, tmp_path, load("testcard"), 5.0)]

    colours = seen()
    assert colours == seen()
    assert [colours[round(30 * second)] for second in (0.9, 1.9, 2.9, 3.9, 4.9)] == [
        (255, 0, 0), (255, 0, 0), (0, 0, 0), (0, 255, 0), (0, 255, 0)
    ]  # fmt: skip
    assert all(not green for _, green, _ in colours[:89]), "what is let go fades as it was"

"""Rigs built for Scope and StreamDiffusionTD, message by message."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.udp_client import SimpleUDPClient
from worldjockey.integrations import ControlEvent
from worldjockey.node.compat import osc_aliases
from worldjockey.node.compat.osc_aliases import Aliases, table
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PADS, find
from worldjockey.node.session.inputs import inputs_of
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError


class Rig:
    """A desk that is spoken to in other programs' words."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.desk = Desk(Show(), self.mailbox)
        self.words = Aliases(["scope", "streamdiffusion"], self.desk.read, "my world")

    def say(self, address: str, *args: Any) -> list[tuple[str, tuple[Any, ...]]]:
        said = self.words.translate(address, args)
        assert said is not None
        for target, values in said:
            step = target.endswith("/+")
            self.desk.deliver(ControlEvent(target.removesuffix("/+"), values, 1.0, "test", {"relative": step}))
        assert self.desk.counts["refused"] == 0, self.desk.error
        return said

    def pads(self) -> dict[str, float]:
        """Text to weight of the pads that are heard."""
        read = self.desk.read
        return {read(f"pad/{n}/text"): round(read(f"pad/{n}"), 4) for n in range(1, PADS + 1) if read(f"pad/{n}")}


@pytest.fixture
def rig():
    found = Rig()
    yield found
    found.mailbox.unlink()


def test_scope(rig):
    rig.say("/scope/prompt", "a glowing reef at night")
    assert rig.desk.read("prompt") == "a glowing reef at night"
    rig.say("/scope/transition_steps", 4)
    assert rig.desk.read("transition") == 3.0
    rig.say("/scope/noise_scale", 0.5)
    assert rig.desk.read("energy") == 0.5
    rig.say("/scope/paused", True)
    assert rig.desk.read("freeze") is True
    rig.say("/scope/paused", 0)
    assert rig.desk.read("freeze") is False
    rig.say("/scope/denoising_step_list", 1000, 750, 500)
    assert rig.desk.read("steps") == 3
    rig.say("/scope/main/prompt", "a node of its own")
    assert rig.desk.read("prompt") == "a node of its own"
    assert rig.say("/scope/manage_cache", True) == []


def test_scopes_reset_begins_the_same_world_anew(rig):
    rig.say("/seed", 7)
    before = rig.mailbox.read()
    assert rig.say("/scope/reset_cache", False) == []
    rig.say("/scope/reset_cache", True)
    assert rig.mailbox.read().values["seed"] == 7
    assert rig.mailbox.read().counts["seed"] == before.counts["seed"] + 1


def test_streamdiffusion(rig):
    rig.say("/prompt", "a cat")
    assert rig.desk.read("prompt") == "a cat"
    rig.say("/delta", 0.75)
    assert rig.desk.read("energy") == 0.75
    rig.say("/delta", 1.5)
    assert rig.desk.read("energy") == 1.0
    rig.say("/guidance_scale", 1.25)
    assert rig.desk.read("guidance") == 1.25
    rig.say("/t_list", 20, 40)
    assert rig.desk.read("steps") == 2
    rig.say("/pause", 1)
    assert rig.desk.read("freeze") is True
    rig.say("/play")
    assert rig.desk.read("freeze") is False


def test_the_same_seed_again_is_not_a_new_beginning(rig):
    rig.say("/seed", 5.0)
    before = rig.mailbox.read().counts["seed"]
    rig.say("/seed", 5)
    rig.say("/seed_list", json.dumps([[9, 0.2], [5, 0.8]]))
    assert rig.mailbox.read().counts["seed"] == before
    rig.say("/seed", 2**40)
    rig.say("/seed", 2**40)
    assert rig.mailbox.read().counts["seed"] == before + 1
    rig.say("/seed_list", json.dumps([[9, 0.7], [5, 0.3]]))
    assert rig.desk.read("seed") == 9


def test_a_list_of_prompts_is_pads_whose_weights_sum_to_one(rig):
    rig.say("/prompt_list", json.dumps([["a cat", 3], ["a dog", 1], ["unheard", 0]]))
    assert rig.pads() == {"a cat": 0.75, "a dog": 0.25}
    texts = [rig.desk.read(f"pad/{n}/text") for n in range(1, PADS + 1)]
    said = rig.say("/prompt_list", json.dumps([["a dog", 1], ["a cat", 1]]))
    assert rig.pads() == {"a cat": 0.5, "a dog": 0.5}
    assert texts == [rig.desk.read(f"pad/{n}/text") for n in range(1, PADS + 1)]
    assert not any(target.endswith("text") for target, _ in said)  # nothing is encoded anew for a weight
    rig.say("/prompt_list", json.dumps([["a horse", 1]]))
    assert rig.pads() == {"a horse": 1.0}
    rig.say("/prompt", "the sea")
    assert rig.pads() == {}


def test_a_long_list_keeps_its_heaviest(rig):
    pairs = [[f"thing {n}", n] for n in range(40)]
    rig.say("/prompt_list", json.dumps(pairs))
    assert set(rig.pads()) == {f"thing {n}" for n in range(40 - PADS, 40)}
    assert sum(rig.pads().values()) == pytest.approx(1, abs=0.01)


PAIRS = st.lists(st.tuples(st.text(max_size=4), st.floats(allow_nan=False, allow_infinity=False)), max_size=24)


@pytest.fixture(scope="module")
def one_rig():
    found = Rig()
    yield found
    found.mailbox.unlink()


@settings(max_examples=60)
@given(PAIRS)
def test_any_list_leaves_pads_in_range_and_heard_as_said(one_rig, pairs):
    one_rig.say("/prompt_list", json.dumps(pairs))
    weights = [one_rig.desk.read(f"pad/{n}") for n in range(1, PADS + 1)]
    assert all(0 <= w <= 1 for w in weights)
    heard = {text.replace("\0", "") for text, weight in pairs if weight > 0}
    assert sum(weights) == pytest.approx(1.0 if heard else 0.0)
    assert set(one_rig.pads()) <= heard


@pytest.mark.parametrize(
    ("address", "args"),
    [
        ("/prompt_list", ()), ("/prompt_list", ("",)), ("/prompt_list", ("[" * 9999,)), ("/prompt_list", ("[[1]]",)),
        ("/prompt_list", ('[["a", "b"]]',)), ("/prompt_list", ('[["a", NaN]]',)), ("/prompt_list", (b"\xff",)),
        ("/seed", (math.nan,)), ("/seed", ("x",)), ("/seed_list", ('{"a": 1}',)), ("/scope/noise_scale", (math.inf,)),
        ("/scope/paused", ()), ("/scope/denoising_step_list", ("700",)), ("/delta", (None,)),
    ],
)  # fmt: skip
def test_arguments_without_a_meaning_are_refused_in_words(rig, address, args):
    with pytest.raises(ValueError, match=r"\w"):
        rig.words.translate(address, args)


def test_nothing_ends_a_show_and_what_is_unknown_is_unknown(rig):
    for address in ("/stop", "/unload", "/fx/feedback_transform/zoom", "/frame_ack", "/scope/input_mode"):
        assert rig.words.translate(address, (1,)) == []
    assert rig.words.translate("/resolume/1", (1,)) is None
    assert rig.words.translate("/scope/nope", (1,)) is None
    assert Aliases(["scope"], rig.desk.read).translate("/prompt", ("a",)) is None
    assert Aliases(["streamdiffusion"], rig.desk.read).translate("/scope/prompt", ("a",)) is None


def test_the_heartbeat_is_in_its_own_words(rig):
    assert rig.words.echo("status/world_fps", 24.5) == [
        ("/server_active", 1), ("/stream-info/fps", 24.5), ("/stream-info/output-name", "my world"),
    ]  # fmt: skip
    assert rig.words.echo("status/frames", 90) == [("/framecount", 90)]
    assert rig.words.echo("status/state", "running") == [("/stream-info/state", "local_streaming")]
    assert rig.words.echo("status/state", "loading") == [("/stream-info/state", "local_loading_models")]
    assert rig.words.echo("freeze", True) == [("/streaming_status", "paused")]
    assert rig.words.echo("pad/1", 0.5) == []
    assert Aliases(["scope"], rig.desk.read).echo("status/frames", 90) == []


def test_every_row_means_parameters_that_there_are(rig):
    arguments: dict[str, tuple[Any, ...]] = {"/prompt_list": ('[["a", 1]]',), "/seed_list": ("[[9, 1]]",)}
    arguments |= {"/prompt": ("a",), "/scope/prompt": ("a",)}
    for dialect in ("scope", "streamdiffusion"):
        for address, does, works in table(dialect):
            assert does
            said = rig.words.translate(address, arguments.get(address, (1,)))
            assert bool(said) == works, address
            assert all(find(target.removesuffix("/+")) for target, _ in said or [])
    assert len({row.address for row in osc_aliases.STREAMDIFFUSION}) == len(osc_aliases.STREAMDIFFUSION)


def test_a_rig_moves_over_by_its_show_file(wait_for):
    """What TouchDesigner sends to StreamDiffusionTD, and what it waits to hear, over UDP."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as touchdesigner:
        touchdesigner.bind(("127.0.0.1", 0))
        touchdesigner.settimeout(60)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        feedback = touchdesigner.getsockname()[1]
        show = Show.parse(f"osc: {{port: {port}, feedback: {feedback}, aliases: [streamdiffusion], query: null}}")
        mailbox = Mailbox()
        desk = Desk(show, mailbox)
        inputs = inputs_of(show, desk)
        osc = inputs["osc"]
        assert "oscquery" not in inputs
        osc.start(desk.deliver)
        try:
            osc.feedback("status/world_fps", 20.0)  # it listens before it speaks
            heard = [touchdesigner.recv(4096) for _ in range(3)]
            assert any(message.startswith(b"/server_active\0") for message in heard)
            client = SimpleUDPClient("127.0.0.1", port)
            client.send_message("/prompt_list", json.dumps([["a cat", 0.5], ["a dog", 0.5]]))
            client.send_message("/pause", 1)
            wait_for(lambda: desk.read("freeze"))
            assert desk.read("pad/1/text") == "a cat"
            assert osc.status()["foreign"] == 0
        finally:
            osc.stop()
            mailbox.unlink()


def test_a_show_says_what_there_is():
    with pytest.raises(ShowError, match=r"scope.*streamdiffusion"):
        Show.parse("osc: {aliases: [resolume]}")
    with pytest.raises(ShowError, match=r"osc\.allow.*not a host"):
        Show.parse("osc: {allow: [stage left]}")
    assert Show.parse("osc: {allow: [lan, 10.0.0.0/8, 192.168.1.20]}").osc.allow[0] == "lan"


@pytest.mark.parametrize(("dialect", "address"), [("scope", "/scope/prompt"), ("streamdiffusion", "/prompt")])
@pytest.mark.parametrize(
    ("args", "text"),
    [(("a", "calm", "sea"), "a calm sea"), ((b"a calm sea",), "a calm sea"), (("a calm sea", 2.0), "a calm sea")],
)
def test_prompts_of_other_programs_may_come_in_words_or_blobs(dialect, address, args, text):
    mailbox = Mailbox()
    try:
        desk = Desk(Show.parse(""), mailbox)
        for target, values in Aliases([dialect], desk.read).translate(address, args) or ():
            desk.deliver(ControlEvent(target, values, 1.0, "osc"))
        assert (desk.read("prompt"), desk.error) == (text, "")
        with pytest.raises(ValueError, match="a text is expected"):
            Aliases([dialect], desk.read).translate(address, (1.0,))
    finally:
        mailbox.unlink()


@pytest.mark.parametrize(
    ("address", "value", "target", "expected"),
    [
        ("/scope/paused", "true", "freeze", True), ("/scope/paused", "off", "freeze", False),
        ("/delta", "0,5", "energy", 0.5), ("/delta", '"0.5"', "energy", 0.5), ("/seed", "14.0", "seed", 14),
    ],
)  # fmt: skip
def test_numbers_and_switches_may_be_texts(rig, address, value, target, expected):
    rig.say(address, value)
    assert rig.desk.read(target) == expected


def test_what_is_wrong_with_a_value_is_said_in_words(rig):
    for value in ("much", None, float("nan"), (1, 2)):
        with pytest.raises(ValueError, match=r"^a number is expected, not"):
            rig.words.translate("/delta", (value,))

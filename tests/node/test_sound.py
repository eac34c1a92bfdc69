import pytest
from worldjockey.integrations.audio import DEFAULT
from worldjockey.node.desk import Desk
from worldjockey.node.mailbox import Mailbox
from worldjockey.node.play import inputs_of
from worldjockey.node.show import Show, ShowError


def wires_of(text):
    show = Show.parse(f"osc: {{enabled: false}}\nmidi: {{enabled: false}}\n{text}".encode(), "show.yaml")
    mailbox = Mailbox()
    try:
        return inputs_of(show, Desk(show, mailbox))
    finally:
        mailbox.unlink()


def test_nothing_is_listened_to_unless_the_show_says_so():
    assert "sound" not in wires_of("")


def test_sound_plays_the_world_or_what_the_show_maps():
    assert wires_of("sound: {enabled: true}")["sound"].wires == DEFAULT
    (wire,) = wires_of("sound: {enabled: true, map: [{of: bass, to: cam/zoom, high: 0.5, release: 1}]}")["sound"].wires
    assert (wire.feature, wire.target, wire.low, wire.high, wire.release) == ("bass", "cam/zoom", -1.0, 0.5, 1)


@pytest.mark.parametrize(
    ("wire", "says"),
    [("{of: bass, to: cam/zom}", "cam/zoom"), ("{of: bass, to: prompt}", "text"), ("{of: hum, to: morph}", "bass")],
)
def test_a_fault_in_the_map_is_named(wire, says):
    with pytest.raises(ShowError, match=says):
        Show.parse(f"sound: {{map: [{wire}]}}".encode(), "show.yaml")

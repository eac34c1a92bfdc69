import numpy as np
import pytest
from worldjockey.integrations import AudioChunk, Output
from worldjockey.integrations.audio.input import DEFAULT
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.audio_ring import AudioRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.output.worker import AudioForwarder
from worldjockey.node.session.inputs import inputs_of
from worldjockey.node.session.processes import output_specs
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

pytestmark = pytest.mark.slow


def mappings_of(text):
    show = Show.parse(f"osc: {{enabled: false}}\nmidi: {{enabled: false}}\n{text}".encode(), "show.yaml")
    mailbox = Mailbox()
    try:
        return inputs_of(show, Desk(show, mailbox))
    finally:
        mailbox.unlink()


def test_nothing_is_listened_to_unless_the_show_says_so():
    assert "sound" not in mappings_of("")


def test_sound_plays_the_world_or_what_the_show_maps():
    assert mappings_of("sound: {enabled: true}")["sound"].mappings == DEFAULT
    (wire,) = mappings_of("sound: {enabled: true, map: [{of: bass, to: cam/zoom, high: 0.5, release: 1}]}")[
        "sound"
    ].mappings
    assert (wire.feature, wire.target, wire.low, wire.high, wire.release) == ("bass", "cam/zoom", -1.0, 0.5, 1)


def test_what_is_listened_to_goes_out_wherever_there_is_a_place_for_it():
    outputs = "outputs: [window, ndi, {kind: ndi, name: mute, sound: false}, 'file:clip.mp4']"
    with_audio = Show.parse(f"sound: {{enabled: true}}\n{outputs}")
    assert [(spec.name, spec.wants_audio) for spec in output_specs(with_audio.on_air)] == [
        ("window", False), ("ndi", True), ("ndi 2", False), ("file", True)
    ]  # fmt: skip
    assert not any(spec.wants_audio for spec in output_specs(Show.parse(outputs).on_air))
    assert Show.parse(with_audio.dump()) == with_audio
    with pytest.raises(ShowError, match="window has no option sound"):
        Show.parse("outputs: [{kind: window, sound: false}]")


class Deaf(Output):
    """An output that cannot take sound after all."""

    chunks = 0

    def send(self, frame): ...

    def send_audio(self, chunk):
        self.chunks += 1
        raise OSError("no room")


def test_audio_that_an_output_cannot_take_is_reported_and_left_out():
    ring, output = AudioRing(), Deaf()
    try:
        forwarder = AudioForwarder(output, ring)
        for _ in range(3):
            ring.write(AudioChunk(np.zeros((480, 2), np.float32), 48000, 0.0))
            forwarder.forward()
        assert output.chunks == 1
        assert forwarder.status == {"message": "goes on without audio: no room"}
    finally:
        ring.unlink()


@pytest.mark.parametrize(
    ("wire", "says"),
    [("{of: bass, to: cam/zom}", "cam/zoom"), ("{of: bass, to: prompt}", "text"), ("{of: hum, to: morph}", "bass")],
)
def test_an_error_in_the_map_is_named(wire, says):
    with pytest.raises(ShowError, match=says):
        Show.parse(f"sound: {{map: [{wire}]}}".encode(), "show.yaml")

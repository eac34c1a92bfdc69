"""A show and OBS Studio itself (tests/peers/obs.py): scenes fire cues, cues choose scenes, and OBS has the tally."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from obs import OBS, PASSWORD, SCENE, obs
from worldjockey.integrations.obs.input import list_servers
from worldjockey.integrations.obs.obs_process import is_own
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.preview import Preview
from worldjockey.node.control.show_editor import ShowEditor
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.session.inputs import inputs_of, own_sources
from worldjockey.node.session.report import tally
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

SHOW = """
name: sea
pads: [calm, storm]
cues: [{name: calm, pads: {1: 1}}, {name: storm, pads: {2: 1}}, {name: night, prompt: night}]
outputs: [{kind: web, port: 8080}]
osc: off
midi: off
gamepad: off
"""
SCENES = "{stage: calm, Break: {cue: storm, prompt: pause, seconds: 0, values: {energy: 0.25}}}"


class Rig:
    """A desk that follows an OBS."""

    def __init__(self, text: str, folder: Path) -> None:
        self.box, self.preview_box = Mailbox(), Mailbox()
        self.desk = Desk(Show.parse(text), self.box)
        self.desk.preview = Preview(self.desk, self.preview_box)
        self.input = inputs_of(self.desk.show, self.desk, folder=folder)["obs"]
        self.input.start(self.desk.deliver)

    @property
    def status(self) -> dict[str, Any]:
        """As the control loop sees it, which also gives the news to the input."""
        self.input.feedback("status/cue", self.desk.cue_name)
        return dict(self.input.status())

    def close(self) -> None:
        self.input.stop()
        self.box.unlink()
        self.preview_box.unlink()


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(port: int, scenes: str = SCENES, **options: Any) -> Rig:
        password = "" if "password" in options else f"password: {PASSWORD}, "
        more = "".join(f", {name}: {value}" for name, value in options.items())
        rigs.append(Rig(f"{SHOW}obs: {{{password}port: {port}, scenes: {scenes}{more}}}", tmp_path))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture(scope="module")
def studio(xvfb: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[OBS]:
    """One OBS for all tests, since its start takes seconds."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("DISPLAY", xvfb[0])
        director = stack.enter_context(obs(tmp_path_factory.mktemp("obs")))
        director.call("CreateScene", sceneName="Break")
        director.call("CreateScene", sceneName="Empty")
        yield director


@pytest.fixture
def director(studio: OBS) -> OBS:
    """OBS as each test finds it: at its first scene, without studio mode, with cuts."""
    studio.call("SetStudioModeEnabled", studioModeEnabled=False)
    studio.call("SetCurrentSceneTransition", transitionName="Cut")
    studio.call("SetCurrentProgramScene", sceneName=SCENE)
    return studio


@pytest.mark.slow
def test_a_scene_fires_its_cue_as_the_transition_begins(director: OBS, follow: Any, wait_for: Any) -> None:
    rig = follow(director.port)
    wait_for(lambda: rig.status["state"] == "connected")
    assert rig.desk.cue_name == "", "connecting changes nothing"
    director.call("SetCurrentSceneTransition", transitionName="Fade")
    director.call("SetCurrentSceneTransitionDuration", transitionDuration=20000)
    director.call("SetCurrentProgramScene", sceneName="Break")
    wait_for(lambda: rig.desk.cue_name == "storm")
    assert (rig.desk.read("pad/2"), rig.desk.read("prompt"), rig.desk.read("energy")) == (1.0, "pause", 0.25)
    director.call("SetCurrentSceneTransition", transitionName="Cut")
    director.call("SetCurrentProgramScene", sceneName="Empty")
    wait_for(lambda: rig.status["scene"] == "Empty")
    assert rig.desk.cue_name == "storm", "a scene that the show does not name does nothing"
    director.call("SetCurrentProgramScene", sceneName=SCENE)
    wait_for(lambda: rig.desk.cue_name == "calm")
    assert rig.status["cues"] == 2
    assert rig.desk.counts["refused"] == 0


@pytest.mark.slow
def test_a_cue_at_the_end_of_the_transition(director: OBS, follow: Any, wait_for: Any) -> None:
    rig = follow(director.port, when="end")
    wait_for(lambda: rig.status["state"] == "connected")
    director.call("SetCurrentSceneTransition", transitionName="Fade")
    director.call("SetCurrentSceneTransitionDuration", transitionDuration=1500)
    director.call("SetCurrentProgramScene", sceneName="Break")
    wait_for(lambda: rig.status["scene"] == "Break")
    assert rig.desk.cue_name == "", "the transition has only begun"
    wait_for(lambda: rig.desk.cue_name == "storm")


@pytest.mark.slow
def test_a_cue_chooses_its_scene_and_nothing_goes_round(director: OBS, follow: Any, wait_for: Any) -> None:
    rig = follow(director.port, follow="both")
    wait_for(lambda: rig.status["state"] == "connected")
    rig.desk.deliver(_control("cue/go", "storm"))
    wait_for(lambda: rig.status["scene"] == "Break")
    rig.desk.deliver(_control("cue/go", "night"))  # has no scene
    director.call("SetCurrentProgramScene", sceneName=SCENE)
    wait_for(lambda: rig.status["cues"] == 1 and rig.desk.cue_name == "calm")
    director.call("SetCurrentProgramScene", sceneName="Break")
    wait_for(lambda: rig.desk.cue_name == "storm")
    wait_for(lambda: rig.status["scene"] == "Break")
    assert (rig.status["cues"], rig.status["scenes_sent"]) == (2, 1), "no scene was sent back, and no cue fired twice"


@pytest.mark.slow
def test_studio_mode_prepares_the_preview_and_takes_it(director: OBS, follow: Any, wait_for: Any) -> None:
    rig = follow(director.port, prepare="true")
    wait_for(lambda: rig.status["state"] == "connected")
    director.call("SetStudioModeEnabled", studioModeEnabled=True)
    director.call("SetCurrentPreviewScene", sceneName="Break")
    wait_for(lambda: rig.desk.read("preview/pad/2") == 1.0)
    assert (rig.desk.cue_name, rig.desk.read("pad/2")) == ("", 0.0), "the program plays on"
    assert rig.desk.read("preview/prompt") == "pause"
    rig.desk.deliver(_control("preview/energy", 0.75))  # what was prepared is played on by hand, and taken with it
    director.call("TriggerStudioModeTransition")
    wait_for(lambda: rig.desk.cue_name == "storm")
    assert (rig.desk.read("pad/2"), rig.desk.read("energy")) == (1.0, 0.75)
    director.call("SetStudioModeEnabled", studioModeEnabled=False)
    wait_for(lambda: rig.status["preview"] == "")
    assert (rig.status["scene"], rig.desk.cue_name) == ("Break", "storm"), "studio mode is left without a change"
    assert rig.desk.counts["refused"] == 0


@pytest.mark.slow
def test_the_tally_is_that_of_our_source(director: OBS, follow: Any, wait_for: Any) -> None:
    rig = follow(director.port)

    def shown() -> str:
        return tally({}, {"obs": rig.status})

    wait_for(lambda: shown() == "program", what="a scene of the show, since no source is known")
    director.call("CreateInput", sceneName="Empty", inputName="world", inputKind="ffmpeg_source",
                  inputSettings={"is_local_file": False, "input": "http://127.0.0.1:8080/video.mjpeg"})  # fmt: skip
    wait_for(lambda: rig.status["sources"] == ["world"])
    wait_for(lambda: shown() == "off", what="the source is in another scene")
    director.call("SetStudioModeEnabled", studioModeEnabled=True)
    director.call("SetCurrentPreviewScene", sceneName="Empty")
    wait_for(lambda: shown() == "preview")
    director.call("TriggerStudioModeTransition")
    wait_for(lambda: shown() == "program")
    director.call("RemoveInput", inputName="world")
    wait_for(lambda: rig.status["sources"] == [])


@pytest.mark.slow
def test_what_obs_records_is_shown(director: OBS, follow: Any, wait_for: Any) -> None:
    rig = follow(director.port)
    wait_for(lambda: rig.status["state"] == "connected")
    assert rig.status["sends"] == ""
    director.call("StartRecord")
    wait_for(lambda: rig.status["sends"] == "recording")
    director.wait("StopRecord")
    wait_for(lambda: rig.status["sends"] == "")


@pytest.mark.slow
def test_a_wrong_password_and_wrong_scenes_are_told(director: OBS, follow: Any, wait_for: Any, tmp_path: Path) -> None:
    rig = follow(director.port, password="wrong")
    wait_for(lambda: "password is another" in rig.status["error"])
    (tmp_path / "obs.txt").write_text(f"{PASSWORD}\n")
    rig = follow(director.port, "{Brake: storm, stage: calm}", password="null, password_file: obs.txt")
    wait_for(lambda: rig.status["state"] == "connected")
    assert rig.status["missing"] == ["Brake"]
    assert "no scene 'Brake'" in rig.status["error"]
    assert "did you mean 'Break'?" in rig.status["error"]
    director.call("CreateScene", sceneName="Brake")
    wait_for(lambda: rig.status["error"] == "")
    director.call("RemoveScene", sceneName="Brake")
    assert list_servers(port=director.port)[0].endswith("with a password")


def test_a_server_that_never_answers_is_no_obs(follow: Any, wait_for: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    rig = follow(free)
    wait_for(lambda: "OBS does not answer" in rig.status["error"])
    greeted = threading.Event()
    server = _Speechless(free, greeted)  # a port that takes connections and never answers is no OBS either
    try:
        wait_for(greeted.is_set)
        assert rig.status["state"] == "connecting"
    finally:
        server.close()
    assert rig.input.status()["restarts"] == 0


@pytest.mark.slow
def test_obs_may_go_and_come(director: OBS, display: str, tmp_path: Path, follow: Any, wait_for: Any) -> None:
    rig = follow(director.port)
    wait_for(lambda: rig.status["state"] == "connected")
    director.kill()
    wait_for(lambda: "OBS does not answer" in rig.status["error"])
    assert tally({}, {"obs": rig.status}) == "off"
    with obs(tmp_path / "next", port=director.port) as following:
        following.call("CreateScene", sceneName="Break")
        wait_for(lambda: rig.status["state"] == "connected")
        assert rig.desk.cue_name == "", "that it comes back changes nothing"
        following.call("SetCurrentProgramScene", sceneName="Break")
        wait_for(lambda: rig.desk.cue_name == "storm")
    assert rig.status["restarts"] == 0


class _Speechless:
    """A server that accepts and says nothing."""

    def __init__(self, port: int, greeted: threading.Event) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self._taken: list[socket.socket] = []
        self._greeted = greeted
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            self._taken.append(self._socket.accept()[0])
            self._greeted.set()
        except OSError:
            return

    def close(self) -> None:
        for one in (self._socket, *self._taken):
            one.close()


def test_our_sources_are_known_by_kind_and_settings() -> None:
    show = Show.parse(
        "name: sea\noutputs: [ndi, 'ndi:keyed', web, {kind: web, port: 8081, host: 0.0.0.0}, window, spout,\n"
        " 'stream:tcp://0.0.0.0:9000', virtualcam]\n"
    )
    own = {name: list(value) for name, value in vars(own_sources(show)).items()}
    ours = [
        ("ndi_source", {"ndi_source_name": "STUDIO (sea)"}), ("ndi_source", {"ndi_source_name": "STUDIO (keyed)"}),
        ("browser_source", {"url": "http://localhost:8081/?x"}), ("ffmpeg_source", {"input": "tcp://10.0.0.5:9000"}),
        ("ffmpeg_source", {"is_local_file": False, "input": "http://127.0.0.1:8080/video.mjpeg"}),
        ("xcomposite_input", {"capture_window": "4194310\r\nsea\r\nwj"}), ("spout_capture", {"spoutsenders": "sea"}),
        ("dshow_input", {"video_device_id": "OBS Virtual Camera:"}),
    ]  # fmt: skip
    others = [
        ("ndi_source", {"ndi_source_name": "STUDIO (seaside)"}), ("ndi_source", {}), ("browser_source", {"url": "x:y"}),
        ("browser_source", {"url": "https://example.org/"}), ("ffmpeg_source", {"input": "http://127.0.0.1:8082/"}),
        ("ffmpeg_source", {"is_local_file": True, "input": "http://127.0.0.1:8080/"}), ("color_source", {"url": ""}),
        ("xcomposite_input", {"capture_window": "1\r\nMail\r\n"}), ("v4l2_input", {"device_id": "/dev/video0"}),
    ]  # fmt: skip
    assert [is_own(kind, settings, own) for kind, settings in ours] == [True] * len(ours)
    assert [is_own(kind, settings, own) for kind, settings in others] == [False] * len(others)
    local = "browser_source", {"url": "http://localhost:8080/"}
    assert not is_own(*local, own, local=False), "another machine's localhost is not this one"


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ("{scenes: {Main: strom}}", "there is no cue 'strom'"),
        ("{scenes: {Main: {}}}", "takes a cue, a prompt or values"),
        ("{scenes: {Main: {cue: 9}}}", "there is no cue '9'"),
        ("{scenes: {Main: {values: {enrgy: 1}}}}", "did you mean 'energy'"),
        ("{password: a, password_env: B}", "use one of password"),
        ("{host: 'localhost:4455'}", "the port has a line of its own"),
    ],
)
def test_a_show_with_mistakes_names_the_right_form(lines: str, wrong: str) -> None:
    with pytest.raises(ShowError, match=wrong):
        Show.parse(f"{SHOW}obs: {lines}\n")


def test_obs_is_off_unless_a_show_has_it() -> None:
    assert Show.parse(SHOW).obs is None
    assert Show.parse(f"{SHOW}obs: on\n").obs is not None
    again = Show.parse(Show.parse(f"{SHOW}obs: {{scenes: {{Main: 2}}}}\n").dump())
    assert again.obs is not None
    assert again.obs.rules(again.cues)[0]["cue"] == "storm"
    with pytest.raises(ShowError, match="no variable"):
        Show.parse(f"{SHOW}obs: {{password_env: WJ_NO_SUCH}}\n").obs.secret(Path())  # type: ignore[union-attr]


def test_scenes_follow_cues_that_are_edited(tmp_path: Path) -> None:
    path, box = tmp_path / "show.yaml", Mailbox()
    path.write_text(
        f"{SHOW}obs:\n  scenes:  # of tonight\n    Main: storm\n    Break: {{cue: night, values: {{energy: 1}}}}\n"
    )
    desk = Desk(Show.load(path), box)
    editor = ShowEditor(desk, path, tmp_path)
    editor.start()
    editor.edit_cue(1, {"name": "gale"})
    editor.delete_cue(2)
    editor.save()
    editor.stop()
    box.unlink()
    for show in (desk.show, Show.load(path)):
        assert show.obs is not None
        rules = {rule["scene"]: rule["controls"] for rule in show.obs.rules(show.cues)}
        assert rules == {"Main": (("cue/go", ("gale",)),), "Break": (("energy", (1,)),)}
    assert "# of tonight" in path.read_text()


def _control(target: str, *args: Any) -> Any:
    from worldjockey.integrations import ControlEvent

    return ControlEvent(target, args, 0.0, "test")

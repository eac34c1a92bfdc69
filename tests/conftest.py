"""Real peers for the tests: a JACK server, the daemons NDI finds sources by, and an X display.

Each fixture starts what is absent, leaves alone what already runs, and ends what it started. A test that asks for a
peer whose Debian package is not installed is skipped with that package's name.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from worldjockey.node.ipc import log_file
from worldjockey.node.ipc.process import limit_threads
from xdist.scheduler import LoadScopeScheduling

limit_threads(None)  # torch's threads sleep while they wait, also where the tests share the machine
# The tests start hundreds of processes: each would compile what it imports, where Python is told to keep no bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Other work may share the machine: an example that takes long is no fault.
# At a desk every run tries other examples; the gate tries the same ones again, so that red means this change.
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="WJ_STEADY" in os.environ
)
settings.load_profile("shared")

PEERS = Path(__file__).parent / "peers"
REAL_PEERS = {"jack", "discovery", "xvfb"}  # fixtures that start one: a test that asks for it is slow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not REAL_PEERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


CALM = tuple(
    f"tests/{path}"
    for path in (
        "node/cli/", "node/compat/", "node/control/", "node/measure/test_gpu.py", "node/measure/test_model_choice.py",
        "node/show/", "node/timing/", "node/world/test_adaptive_quality.py", "node/world/test_prompt_deck.py",
        "node/world/test_prompt_encoder.py", "node/world/test_stills.py", "node/world/test_torchrun_worker.py",
        "test_bootstrap.py", "test_docs.py", "test_layers.py", "test_wheel.py",
    )
)  # fmt: skip


class ModelBesideShow(LoadScopeScheduling):
    """Two processes (`wj test`): one begins with all tests that share JACK, avahi and ports. The others, by folder, go
    to whichever process has nothing left: those that share nothing (CALM), and the model's."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/model/"):
            return "/".join(nodeid.split("/")[:3])
        return "calm" if nodeid.startswith(CALM) else "show"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ModelBesideShow(config, log)


PATIENCE_S = 60.0  # a machine that others share is many times slower than a desk now and then


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE_S, what: str = "") -> None:
    """Return as soon as `condition` is true; fail the test when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.02)


@pytest.fixture(scope="session", name="wait_for")
def wait_for_fixture() -> Callable[..., None]:
    return wait_for


@contextlib.contextmanager
def peer(
    command: list[str], package: str, log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon in the foreground, for as long as the block lasts."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: apt-get install {package}")
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _up(process: subprocess.Popen[bytes], ready: Callable[[], object], log: Path) -> None:
    wait_for(lambda: process.poll() is not None or ready(), what=f"a peer to be ready, see {log}")
    if process.poll() is not None:
        raise RuntimeError(f"a peer ended with {process.returncode}:\n{log.read_text()}")


def forget_dead_jack_servers() -> None:
    """A JACK server that was killed keeps one of the eight places in JACK's registry until the machine restarts."""
    import psutil

    if not any(process.info["name"] in ("jackd", "jackdmp", "jackdbus") for process in psutil.process_iter(["name"])):
        with contextlib.suppress(OSError):
            Path("/dev/shm/jack-shm-registry").unlink(missing_ok=True)


@pytest.fixture(scope="session", autouse=True)
def _no_logs_among_the_users_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Shows that tests play write their logs elsewhere, and are not asked for more of them by the user's shell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        for name in (log_file.LOG_FILE_VARIABLE, log_file.LEVEL_VARIABLE):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def jack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of a JACK server without a sound card. Every JACK client of this process and its children uses it.

    With it, rtmidi's API_UNIX_JACK has real MIDI ports: `rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="pads")`.
    """
    forget_dead_jack_servers()
    name = f"wj-test-{os.getpid()}"
    log = tmp_path_factory.mktemp("jack") / "jackd.log"
    command = ["jackd", "--no-realtime", "--no-mlock", "--silent", "--name", name, "-d", "dummy", "-p", "512"]
    with peer(command, "jackd2", log) as process, pytest.MonkeyPatch.context() as patch:
        probe = ["jack_wait", "--server", name, "--check"]
        _up(process, lambda: subprocess.run(probe, capture_output=True).stdout.strip() == b"running", log)
        patch.setenv("JACK_DEFAULT_SERVER", name)
        patch.setenv("JACK_NO_START_SERVER", "1")
        yield name


def _dbus_answers() -> bool:
    with socket.socket(socket.AF_UNIX) as bus:
        return bus.connect_ex("/run/dbus/system_bus_socket") == 0


def _avahi_answers() -> bool:
    with socket.socket(socket.AF_UNIX) as avahi:
        return avahi.connect_ex("/run/avahi-daemon/socket") == 0


@pytest.fixture(scope="session")
def discovery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """dbus and avahi-daemon, by which NDI programs find each other."""
    folder = tmp_path_factory.mktemp("discovery")
    with contextlib.ExitStack() as stack:
        if not _dbus_answers():
            if os.geteuid() != 0:
                pytest.skip("no system bus is running and only root can start one: sudo service dbus start")
            Path("/run/dbus").mkdir(parents=True, exist_ok=True)
            log = folder / "dbus.log"
            bus = stack.enter_context(peer(["dbus-daemon", "--system", "--nofork", "--nopidfile"], "dbus", log))
            _up(bus, _dbus_answers, log)
        if not _avahi_answers():
            if os.geteuid() != 0:
                pytest.skip("avahi-daemon is not running: sudo service avahi-daemon start")
            log = folder / "avahi.log"
            avahi = stack.enter_context(peer(["avahi-daemon", "--no-rlimits"], "avahi-daemon", log))
            _up(avahi, _avahi_answers, log)
        yield


@pytest.fixture(scope="session")
def xvfb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """DISPLAY of a 1280x720 X server of our own with OpenGL in software, and the file its screen is mapped to."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed: apt-get install xvfb")
    folder = tmp_path_factory.mktemp("xvfb")
    log = folder / "xvfb.log"
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-noreset"]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "-fbdir", str(folder)], stdout=out, stderr=out, pass_fds=[writer])
    os.close(writer)
    try:
        with os.fdopen(reader) as pipe:
            number = pipe.readline().strip()  # written once the server accepts connections
        if not number:
            raise RuntimeError(f"Xvfb did not start:\n{log.read_text()}")
        yield f":{number}", folder / "Xvfb_screen0"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def display(xvfb: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """Windows of this test and its children open on a screen of our own; its name."""
    monkeypatch.setenv("DISPLAY", xvfb[0])
    monkeypatch.setenv("XDG_SESSION_TYPE", "x11")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
    return xvfb[0]


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """CUDA is here, in this process and in those that it starts; the folder that rules it (peers/card)."""

    def forget() -> None:
        for name in [n for n in sys.modules if n == "cuda" or n.startswith("cuda.")]:
            del sys.modules[name]

    forget()
    monkeypatch.syspath_prepend(str(PEERS / "card"))
    monkeypatch.setenv("WJ_CARD", str(tmp_path))
    yield tmp_path
    forget()


@pytest.fixture
def screenshot(xvfb: tuple[str, Path]) -> Callable[[], np.ndarray]:
    """Takes what the screen shows now, (720, 1280, 3) RGB. The file is an X Window Dump (XWDFile.h, version 7)."""

    def take() -> np.ndarray:
        data = xvfb[1].read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        size, width, height, stride, colors = (int(header[i]) for i in (0, 4, 5, 12, 19))
        rows = np.frombuffer(data, np.uint8, stride * height, size + 12 * colors).reshape(height, stride)
        return rows[:, : width * 4].reshape(height, width, 4)[..., 2::-1].copy()

    return take


class NDIReceiver:
    """peers/ndi_receiver.py in a process of its own. `rows` grows by one entry for each picture it receives."""

    def __init__(self, source: str, folder: Path, *options: str) -> None:
        self.rows: list[dict[str, Any]] = []
        self._folder = folder
        self._log = (folder / "ndi_receiver.log").open("wb")
        command = [sys.executable, str(PEERS / "ndi_receiver.py"), source, *options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, bufsize=1
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.rows.append(json.loads(line))

    def tell(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(command + "\n")

    def wait(self, condition: Callable[[dict[str, Any]], object], seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The first picture received from now on that fulfils `condition`."""
        start = len(self.rows)
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found.extend(row for row in self.rows[start:] if condition(row))
            return bool(found)

        last = self.rows[-1] if self.rows else "nothing"
        wait_for(look, seconds, f"such a picture; last one before: {last}, {len(self.rows)} in all")
        return found[0]

    def picture(self) -> np.ndarray:
        """The next picture's pixels, (H, W, 4) RGBA, or (H, W, 2) UYVY where that was asked for and sent."""
        path = self._folder / f"{time.monotonic_ns()}.npy"
        self.tell(f"save {path}")
        wait_for(path.exists, what="a picture to save")
        return np.load(path)

    def stop(self) -> None:
        self._process.communicate()  # closes its standard input, which ends it
        self._log.close()


@pytest.fixture
def ndi_receiver(discovery: None, tmp_path: Path) -> Iterator[Callable[..., NDIReceiver]]:
    """`ndi_receiver("part of a source's name")` connects to it as soon as it is on air."""
    pytest.importorskip("cyndilib", reason="the independent NDI receiver is not installed: pip install cyndilib")
    with contextlib.ExitStack() as stack:

        def start(source: str, *options: str) -> NDIReceiver:
            receiver = NDIReceiver(source, tmp_path, *options)
            stack.callback(receiver.stop)
            return receiver

        yield start

"""The checkout's `wj` script, with an environment whose Python only writes down what it is asked."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")]

PYTHON = """#!/bin/sh
echo "$@" >> "$LOG"
case "$2" in pip) exit "${PIP_EXIT:-0}";; pytest) echo "tests run in $PWD: $*";; esac
"""


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.root, self.venv, self.log = folder / "checkout", folder / "venv", folder / "log"
        self.root.mkdir()
        for name in ("wj", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        (self.venv / "bin").mkdir(parents=True)
        self._script("python", PYTHON)
        self._script("wj", '#!/bin/sh\necho "wj in $PWD: $*"\n')

    def _script(self, name: str, text: str) -> None:
        path = self.venv / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        environment = {**os.environ, "WJ_VENV": str(self.venv), "LOG": str(self.log), **env}
        command = [sys.executable, str(self.root / "wj"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=self.root.parent)

    @property
    def installed(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith("-m pip install")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_installs_once_with_the_pins_and_becomes_wj(checkout):
    first = checkout.run("play", "--seconds", "1")
    [install] = checkout.installed
    assert install.endswith(f"-c {checkout.root}/constraints.txt -e {checkout.root}[dev]")
    assert first.stdout == f"wj in {checkout.root.parent}: play --seconds 1\n"
    second = checkout.run("reference", "--json")
    assert checkout.installed == []
    assert second.stdout.endswith("reference --json\n")
    assert second.stderr == ""


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_installs_again_when_the_requirements_change(checkout, name):
    checkout.run("play")
    with (checkout.root / name).open("a") as file:
        file.write("\n# more\n")
    checkout.run("play")
    assert len(checkout.installed) == 1


def test_a_failed_installation_is_told_and_tried_again(checkout):
    failed = checkout.run("play", PIP_EXIT="1")
    assert failed.returncode == 2
    assert "run the same command again" in failed.stderr
    assert failed.stdout == ""
    assert checkout.run("play").returncode == 0
    assert len(checkout.installed) == 1


def test_test_runs_pytest_in_the_checkout(checkout):
    result = checkout.run("test", "-k", "deck")
    assert result.stdout == f"tests run in {checkout.root}: -m pytest -k deck\n"


def test_the_whole_suite_runs_in_two_processes(checkout):
    result = checkout.run("test", "-m", "not slow")
    assert result.stdout == f"tests run in {checkout.root}: -m pytest -n 2 --dist loadscope -m not slow\n"


def test_an_old_python_is_told_what_is_needed(checkout):
    code = "import runpy, sys; sys.version_info = (3, 8, 1); runpy.run_path(sys.argv[1], run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code, str(checkout.root / "wj")], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "wj: this is Python 3.8, and worldjockey needs 3.10 or newer: python3.12 wj play\n"


def test_an_environment_that_is_broken_is_made_anew(checkout):
    checkout._script("python", "#!/bin/sh\nexit 1\n")
    code = (
        "import runpy, subprocess, sys; real = subprocess.run\n"
        "def run(command, **options):\n"
        "    if command[1:3] == ['-m', 'venv']:\n"
        "        print('venv', *command[3:]); return real(['true'])\n"
        "    return real(command, **options)\n"
        "subprocess.run = run\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    environment = {**os.environ, "WJ_VENV": str(checkout.venv), "LOG": str(checkout.log)}
    command = [sys.executable, "-c", code, str(checkout.root / "wj")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.stdout == f"venv --clear {checkout.venv}\n"
    assert result.returncode == 2  # the stand-in cannot install


def with_gpu(checkout: Checkout, answer: str) -> str:
    """A PATH on which `nvidia-smi` answers that."""
    folder = checkout.root.parent / "smi"
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("answer", ["550.54.14, 8.6", "580.95.05, 6.1"])
def test_an_old_driver_or_gpu_gets_the_torch_that_still_has_kernels_for_it(checkout, answer):
    checkout.run("play", PATH=with_gpu(checkout, answer))
    torch, rest = checkout.installed
    pin = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    assert torch.endswith(f"constraints.txt {pin}+cu126 --extra-index-url https://download.pytorch.org/whl/cu126")
    assert rest.endswith(f"-e {checkout.root}[dev]")


@pytest.mark.parametrize("answer", ["580.95.05, 8.9", "570.10, 12.0", "", "NVIDIA-SMI has failed"])
def test_any_other_machine_gets_the_torch_of_pypi(checkout, answer):
    checkout.run("play", PATH=with_gpu(checkout, answer))
    assert len(checkout.installed) == 1


def test_windows_gets_torch_with_cuda_where_there_is_a_gpu_for_it(checkout, monkeypatch):
    script = runpy.run_path(str(ROOT / "wj"), run_name="wj")
    build = script["torch_build"]
    monkeypatch.setitem(build.__globals__, "os", SimpleNamespace(name="nt"))
    for answer, found in (("581.29, 8.9", "cu130"), ("560.94, 8.9", "cu126"), ("", "")):
        monkeypatch.setenv("PATH", with_gpu(checkout, answer))
        assert build() == found

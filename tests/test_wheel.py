"""The wheel, installed elsewhere, is the whole program: nothing of it is left behind in the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and this one's libraries but not its editable install."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = folder / "source"  # a copy: setuptools leaves a build folder, whose old files would enter the next wheel
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "runs", "tests", "*.egg-info"))
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    scheme = "nt_venv" if os.name == "nt" else "posix_venv"
    own = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    site = Path(sysconfig.get_path("purelib", scheme, own))
    (wheel,) = folder.glob("*.whl")
    python = Path(sysconfig.get_path("scripts", scheme, own)) / Path(sys.executable).name
    install = [*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    # A line of a .pth adds the folder and does not run the .pth files inside it, so the editable install stays out.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run([str(python), *arguments], cwd=cwd, env=clean, capture_output=True, text=True, timeout=120)


def test_holds_every_data_file(elsewhere: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from importlib.resources import files\n"
        "for package, pattern in (('node', 'show/default.yaml'), ('model', 'weights/nano.safetensors'),\n"
        "                         ('integrations', 'web/page.html'), ('integrations', 'surface/page/index.html'),\n"
        "                         ('integrations', 'surface/page/vendor/preact.js')):\n"
        "    found = files('worldjockey.' + package).joinpath(pattern)\n"
        "    print(found.is_file(), found)\n"
        "import worldjockey.node, worldjockey.integrations\n"
        "print('torch' in sys.modules)\n"
    )
    result = run(elsewhere, "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    *files, torch = result.stdout.splitlines()
    assert len(files) == 5
    for line in files:
        assert line.startswith("True"), line
        assert str(ROOT) not in line
    assert torch == "False"  # neither control nor the command line waits for it


def test_plays(elsewhere: Path, tmp_path: Path) -> None:
    wj = elsewhere.with_name("wj")
    report = tmp_path / "report.json"
    result = subprocess.run(
        [str(wj), "play", "--model", "testcard", "--headless", "--seconds", "2", "--report", str(report)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert report.exists()

"""Worlds by name: own ones, and those that other packages bring."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from package import describe
from worldjockey.model import Controls, ExtraMissing, Prompt, WeightsMissing, load, registry, worlds
from worldjockey.model.registry import WorldEntry, imported, preset_values, split_options
from worldjockey.model.weights_store import COMMIT, Source

EXAMPLE = Path(__file__).parents[2] / "examples/world_plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that the example was installed into, as pip does it."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(EXAMPLE, folder / "source")  # a copy: building leaves folders behind
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-index"]
    options = ["--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([*pip, *options, str(source)], check=True)
    return folder / "site"


def test_a_packages_world_is_opened_by_its_name(site, monkeypatch):
    assert "plasma" not in worlds()
    monkeypatch.syspath_prepend(site)
    assert worlds()["plasma"].package == "wj-plasma"
    world = load("plasma", aspect=1.0)
    assert (world.spec.width, world.spec.height) == (128, 128)
    sea, fire = (world.encode(Prompt(text)).values for text in ("sea", "fire"))
    world.reset(1)
    kept = world.snapshot()
    first = world.step(Controls(sea))
    assert (tuple(first.shape), first.numpy().std() > 10) == ((1, 128, 128, 3), True)
    sizes = []
    for level in range(len(world.spec.qualities)):
        world.set_quality(level)
        sizes.append(tuple(world.step(Controls(sea)).shape))
    assert sizes == [(1, 128, 128, 3), (1, 64, 64, 3)]
    world.set_quality(0)
    world.restore(kept)
    first = world.step(Controls(sea))
    assert not np.array_equal(world.step(Controls(sea)), first)
    world.restore(kept)
    assert not np.array_equal(world.step(Controls(fire)), first)
    world.restore(kept)
    assert np.array_equal(world.step(Controls(sea)), first)
    with pytest.raises(ValueError, match=r"unknown world 'lava'.*nano.*turbo.*helios.*plasma"):
        load("lava")


def plugin(folder, name, code):
    (folder / f"{name}_world.py").write_text(code)
    describe(folder, f"{name}-world", **{name: f"{name}_world:world"})


def test_a_package_may_bring_weights_and_lack_something(tmp_path, monkeypatch):
    row = (
        "from worldjockey.model.registry import WorldEntry\nfrom worldjockey.model.weights_store import Source\n"
        "world = WorldEntry('lava', print, weights=(Source('some/lava', 'main', ('*.safetensors',)),), licence='MIT')\n"
    )
    plugin(tmp_path, "lava", row)
    plugin(tmp_path, "broken", "import surely_not_installed\n")
    plugin(tmp_path, "nano", "world = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"some/lava.*wj weights get lava"):
        load("lava")
    assert imported("lava").licence == "MIT"
    with pytest.raises(ExtraMissing, match=r"surely_not_installed.*pip install --upgrade broken-world"):
        load("broken")
    assert worlds()["nano"].package == "worldjockey"  # nobody takes the embedded one's place


def test_a_world_whose_packages_are_missing_says_which_extra(monkeypatch):
    def needy(opening):
        import surely_not_installed  # noqa: F401

    entry = replace(worlds()["turbo"], open=needy, weights=())
    monkeypatch.setattr(registry, "BUILTIN_WORLDS", (entry,))
    with pytest.raises(ExtraMissing, match=r"pip install 'worldjockey\[turbo\]'"):
        load("turbo")


def test_options_follow_a_worlds_name_and_reach_it(monkeypatch, tmp_path):
    opened = []
    further = {"size=large": (Source("some/large", "main", ("large.pt",)),)}
    entry = WorldEntry("river", opened.append, options={"size": ("small", "large"), "banks": ("green",)},
                       further=further, values={"steps": 3})  # fmt: skip
    monkeypatch.setattr(registry, "BUILTIN_WORLDS", (entry,))
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    load("river")
    load(" river : size=small, banks=green")
    assert [(o.name, o.options) for o in opened] == [("river", {}), ("river", {"size": "small", "banks": "green"})]
    assert preset_values("river:size=large") == {"steps": 3}
    with pytest.raises(WeightsMissing, match=r"some/large/large\.pt.*wj weights get river:size=large"):
        load("river:size=large,banks=green")
    with pytest.raises(ValueError, match="no option size=huge: it has size=small or large; banks=green"):
        load("river:size=huge")
    with pytest.raises(ValueError, match="option=choice"):
        load("river:large")
    assert split_options("a:b=c=d") == ("a", {"b": "c=d"})
    for odd in ("river:", "river:size=small,size=large"):
        with pytest.raises(ValueError, match="option"):
            load(odd)


def test_what_is_fetched_is_pinned_by_its_commit_or_by_its_content():
    for entry in registry.BUILTIN_WORLDS:
        for source in (*entry.weights, *(s for sources in entry.further.values() for s in sources)):
            pinned = COMMIT.fullmatch(source.revision) or source.sha256.keys() == set(source.files)
            assert pinned, source.repository


def test_every_world_says_what_it_takes():
    for entry in worlds().values():
        assert isinstance(entry, WorldEntry)
        assert entry.licence
        if entry.weights:
            assert entry.extra
            assert entry.memory > 0
            assert entry.terms.startswith("https://")


def test_worlds_stays_a_function_though_a_folder_has_its_name():
    """Each in a process of its own, in which nothing of that folder is imported yet."""
    for code in ("m.load('testcard')", "import worldjockey.model.worlds.testcard"):
        code = f"import worldjockey.model as m; {code}; print(*m.worlds())"
        assert "testcard" in subprocess.check_output([sys.executable, "-c", code], text=True)


def test_names_and_the_testcard_cost_no_torch():
    code = (
        "import sys, worldjockey.model as m; m.worlds(); world = m.load('testcard')\n"
        "world.step(m.Controls(world.encode(m.Prompt('sea')).values)); print('torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"

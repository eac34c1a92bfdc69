"""Getting weights from a hub: a real HTTP server that speaks as much of the Hugging Face hub's API as is needed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from platformdirs import user_cache_path
from typer.testing import CliRunner
from worldjockey.model import WeightsMissing, load, registry, weights_store
from worldjockey.model.registry import WorldEntry
from worldjockey.model.weights_store import MANIFEST, Source, commit, download_bytes, get, home, missing, take

COMMIT, LATER = "0123456789abcdef0123456789abcdef01234567", "f" * 40
TENSORS = np.random.default_rng(0).bytes(300_000)
CONFIG = b'{"layers": 2}\n'

pytestmark = pytest.mark.slow


class Hub(BaseHTTPRequestHandler):
    """Files of any repository: one large (by sha256) and one small (by git's hash), and a pickle nobody wants."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        box = self.server.box
        path, _, query = self.path.partition("?")
        box["asked"].append((path, self.headers.get("Range")))
        if path.startswith("/api/models/"):
            assert query == "blobs=true"
            lfs = {"size": len(TENSORS), "sha256": hashlib.sha256(TENSORS).hexdigest(), "pointerSize": 134}
            blob = hashlib.sha1(f"blob {len(CONFIG)}\0".encode() + CONFIG).hexdigest()
            siblings = [
                {"rfilename": "net/model.safetensors", "size": len(TENSORS), "blobId": "f" * 40, "lfs": lfs},
                {"rfilename": "net/model.bin", "size": 5, "blobId": "e" * 40},
                {"rfilename": "net/config.json", "size": len(CONFIG), "blobId": blob},
            ]
            asked = path.rpartition("/revision/")[2]
            sha = box["head"] if asked == "main" else asked
            return self.answer(json.dumps({"id": "some/world", "sha": sha, "siblings": siblings}).encode())
        if box["down"]:
            return self.answer(b"later", status=503)
        content = {"net/model.safetensors": TENSORS, "net/config.json": CONFIG}[path.partition("/resolve/")[2][41:]]
        if box["damaged"]:
            content = bytes(len(content))
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        cut = box["cuts"].pop(0) if box["cuts"] and len(content) > 1000 else None
        return self.answer(content[begin:], 206 if begin else 200, cut, f"bytes {begin}-{len(content)}/{len(content)}")

    def answer(self, body, status=200, cut=None, extent=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if extent:
            self.send_header("Content-Range", extent)
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.server.box["down"] |= self.server.box["stays_down"]
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)  # of 10 MB, which is what is kept
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.box = {"asked": [], "cuts": [], "damaged": False, "down": False, "stays_down": False, "head": COMMIT}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


SOURCE = Source("some/world", COMMIT, ("net/*",))
LARGE = Source("some/large", COMMIT, ("net/config.json",))


def whole(root):
    assert (root / "some/world/net/model.safetensors").read_bytes() == TENSORS
    assert (root / "some/world/net/config.json").read_bytes() == CONFIG
    return not missing(SOURCE, root)


def ranges(hub):
    return [extent for path, extent in hub.box["asked"] if path.endswith("safetensors")]


def test_gets_what_is_safe_and_checks_it_again(hub, tmp_path):
    assert missing(SOURCE, tmp_path) == ["some/world/net/*"]
    get([SOURCE], tmp_path, endpoint=hub.url)
    assert whole(tmp_path)
    assert sorted(p.name for p in (tmp_path / "some/world/net").iterdir()) == ["config.json", "model.safetensors"]
    fetched = len(ranges(hub))
    get([SOURCE], tmp_path, endpoint=hub.url)
    assert len(ranges(hub)) == fetched  # nothing twice
    damaged = tmp_path / "some/world/net/model.safetensors"
    damaged.write_bytes(bytes(len(TENSORS)))
    get([SOURCE], tmp_path, endpoint=hub.url)
    assert whole(tmp_path)
    assert len(ranges(hub)) == fetched + 1


def test_a_branch_is_followed_once_and_from_then_on_its_commit_is(hub, tmp_path):
    following = Source("some/world", "main", ("net/*",))
    assert commit(following, tmp_path) == ""
    get([following], tmp_path, endpoint=hub.url)
    assert commit(following, tmp_path) == COMMIT
    assert any(f"/resolve/{COMMIT}/" in path for path, _ in hub.box["asked"])
    hub.box.update(head=LATER, asked=[])
    (tmp_path / "some/world/net/config.json").unlink()
    get([following], tmp_path, endpoint=hub.url)
    assert commit(following, tmp_path) == COMMIT, "what is fetched again is of the commit that the rest is of"
    assert hub.box["asked"][0][0].endswith(f"/revision/{COMMIT}")
    assert not any(LATER in path for path, _ in hub.box["asked"])
    assert whole(tmp_path)
    (tmp_path / "some/world" / MANIFEST).unlink()
    get([following], tmp_path, endpoint=hub.url)
    assert commit(following, tmp_path) == LATER, "who wants what is there today forgets what was"


def test_a_connection_that_is_cut_goes_on_where_it_was(hub, tmp_path):
    hub.box["cuts"] = [100_000]
    get([SOURCE], tmp_path, endpoint=hub.url)
    assert whole(tmp_path)
    assert ranges(hub) == [None, "bytes=100000-"]


def test_so_does_another_run_later(hub, tmp_path):
    hub.box.update(cuts=[100_000], stays_down=True)
    with pytest.raises(OSError, match="some/world"):
        get([SOURCE], tmp_path, endpoint=hub.url)
    assert "some/world/net/model.safetensors" in missing(SOURCE, tmp_path)
    hub.box.update(down=False, asked=[])
    get([SOURCE], tmp_path, endpoint=hub.url)
    assert whole(tmp_path)
    assert ranges(hub) == ["bytes=100000-"]


@pytest.mark.parametrize("known", [{}, {"net/model.safetensors": hashlib.sha256(TENSORS).hexdigest()}])
def test_another_content_is_refused(hub, tmp_path, known):
    hub.box["damaged"] = True
    source = Source("some/world", COMMIT, ("net/model*",), known)
    with pytest.raises(ValueError, match="expected content"):
        get([source], tmp_path, endpoint=hub.url)
    assert missing(source, tmp_path)
    assert [p.name for p in (tmp_path / "some/world").rglob("*.*") if p.is_file()] == [MANIFEST]


def test_a_full_disk_is_said(hub, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 1000))
        with pytest.raises(OSError, match=r"GB are needed.*WORLDJOCKEY_WEIGHTS"):
            get([SOURCE], tmp_path, endpoint=hub.url)
    assert not ranges(hub)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full is Linux's")
def test_a_disk_that_fills_up_on_the_way_is_said(hub, tmp_path):
    folder = tmp_path / "some/world/net"
    folder.mkdir(parents=True)
    digest = hashlib.sha256(f"sha256:{hashlib.sha256(TENSORS).hexdigest()}".encode()).hexdigest()[:8]
    (folder / f"model.safetensors.part-{digest}").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"too full.*WORLDJOCKEY_WEIGHTS"):
        get([SOURCE], tmp_path, endpoint=hub.url)


def test_no_hub_is_said_with_a_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(OSError, match=r"check the connection.*--from"):
        get([SOURCE], tmp_path, endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("layout", ["some/world", ".", f"models--some--world/snapshots/{COMMIT}"])
def test_takes_a_folder_as_it_comes(tmp_path, layout):
    given, root, following = tmp_path / "stick", tmp_path / "weights", Source("some/world", "main", ("net/*",))
    folder = given / layout / "net"
    folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="some/world"):
        take([SOURCE], root, given)
    (folder / "model.safetensors").write_bytes(TENSORS)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.pkl").write_bytes(b"no")
    take([SOURCE, following], root, given)
    assert whole(root)
    assert commit(following, root) == (COMMIT if layout.startswith("models--") else "")
    assert not (root / "some/world/net/model.pkl").exists()
    wrong = Source("some/world", COMMIT, ("net/*",), {"net/config.json": "0" * 64})
    with pytest.raises(ValueError, match="sha256 differs"):
        take([wrong], root, given)


def test_says_how_much_will_come_and_what_is_here_already(hub, tmp_path):
    every = len(TENSORS) + len(CONFIG)
    assert download_bytes([SOURCE], tmp_path, hub.url) == (every, every)
    assert not list(tmp_path.iterdir())
    hub.box.update(cuts=[100_000] * 9, stays_down=True)
    with pytest.raises(OSError, match="some/world"):
        get([SOURCE], tmp_path, endpoint=hub.url)
    hub.box.update(down=False, cuts=[], stays_down=False)
    (part,) = (tmp_path / "some/world/net").glob("model*.part-*")
    config = len(CONFIG) * (not (tmp_path / "some/world/net/config.json").exists())
    left = len(TENSORS) - part.stat().st_size + config
    assert download_bytes([SOURCE], tmp_path, hub.url) == (every, left)
    get([SOURCE], tmp_path, endpoint=hub.url)
    assert download_bytes([SOURCE, LARGE], tmp_path, hub.url) == (every + len(CONFIG), len(CONFIG))


def test_the_command_asks_for_the_licence_first(hub, tmp_path, monkeypatch):
    from worldjockey.node.cli.app import app

    entry = WorldEntry("borrowed", lambda opening: None, "turbo", (SOURCE,), "Some License", "https://example.org/l")
    monkeypatch.setattr(registry, "BUILTIN_WORLDS", (*registry.BUILTIN_WORLDS, entry))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    assert home() == tmp_path
    with pytest.raises(WeightsMissing, match="wj weights get borrowed"):
        load("borrowed")
    refused = CliRunner().invoke(app, ["weights", "get", "borrowed"], input="n\n")
    assert refused.exit_code == 1
    assert "Some License (https://example.org/l)" in refused.output
    assert f"0.0 GB to download, into {tmp_path}" in refused.output
    assert refused.output.index("to download") < refused.output.index("do you accept")
    assert all(path.startswith("/api/") for path, _ in hub.box["asked"]), "only the sizes were asked for"
    assert not list(tmp_path.iterdir())
    accepted = CliRunner().invoke(app, ["weights", "get", "borrowed", "--accept"])
    assert accepted.exit_code == 0, accepted.output
    assert "pip install 'worldjockey[turbo]'" in accepted.output
    assert whole(tmp_path)
    listed = json.loads(CliRunner().invoke(app, ["weights", "list", "--json"]).stdout)
    here = {row["name"]: row["weights"] for row in listed}
    assert (here["borrowed"], here["nano"], here["turbo"]) == ("here", "built in", "missing")
    assert next(row["commits"] for row in listed if row["name"] == "borrowed") == {"some/world": COMMIT}
    assert COMMIT[:7] in CliRunner().invoke(app, ["weights", "list"], env={"COLUMNS": "200"}).stdout
    assert load("borrowed") is None
    further = replace(entry, options={"size": ("small", "large")}, further={"size=large": (LARGE,)})
    monkeypatch.setattr(registry, "BUILTIN_WORLDS", (*registry.BUILTIN_WORLDS[:-1], further))
    with pytest.raises(WeightsMissing, match=r"some/large.*wj weights get borrowed:size=large"):
        load("borrowed:size=large")
    got = CliRunner().invoke(app, ["weights", "get", "borrowed:size=large", "--accept"])
    assert "wj play --model borrowed:size=large" in got.output
    assert (tmp_path / "some/large/net/config.json").read_bytes() == CONFIG
    assert load("borrowed:size=large") is None
    wrong = CliRunner().invoke(app, ["weights", "get", "borrowed:size=huge", "--accept"])
    assert "size=small or large" in str(wrong.exception)


def test_the_worlds_process_fetches_nothing(hub, tmp_path):
    """Whatever a library wants from the hub once a show has begun, no socket is opened for it."""
    code = """
from worldjockey.node.ipc import process
process.stay_offline()
import huggingface_hub
try:
    huggingface_hub.hf_hub_download("some/world", "net/config.json", cache_dir="cache")
except Exception as error:
    print(type(error).__name__)
"""
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert run.stdout.strip() == "LocalEntryNotFoundError", run.stderr
    assert hub.box["asked"] == []


def test_a_file_of_another_kind_is_fetched_only_where_a_source_names_it():
    globbed, named = (Source("some/world", "a" * 40, ("net/*", name)) for name in ("x.json", "net/model.bin"))
    assert not weights_store._wanted(globbed, "net/model.bin")
    assert weights_store._wanted(named, "net/model.bin")
    assert not weights_store._wanted(named, "net/other.bin")


def test_what_is_compiled_stays_in_the_users_cache_and_a_folder_of_the_users_own_is_kept(tmp_path):
    code = """
from worldjockey.node.ipc import process
process.keep_compiled()
from torch._inductor.runtime.cache_dir_utils import cache_dir
print(cache_dir())
"""
    plain = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"} | {"XDG_CACHE_HOME": str(tmp_path)}
    for env, folder in ((plain, None), ({**plain, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "own")}, tmp_path / "own")):
        run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
        expected = folder or user_cache_path("worldjockey", False) / "torch-compile"
        if folder is None and sys.platform.startswith("linux"):
            expected = tmp_path / "worldjockey" / "torch-compile"
        assert run.stdout.strip() == str(expected), run.stderr

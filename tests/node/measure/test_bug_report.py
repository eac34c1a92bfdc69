import json
import os
import zipfile

import pytest
from worldjockey.node.ipc import log_file
from worldjockey.node.measure import bug_report

SHOW = """\
prompt: a stormy sea
key: keys/home.key
outputs:
- {kind: ndi, key: luma}
- kind: stream
  url: rtmp://live.example.org/app/stream-key-1234
- {kind: whip, url: "https://sfu.example.org/whip/stage", token: "bearer, 5678", sound: false}
- stream:srt://me:secret@host:9710?passphrase=stageleft&latency=200
"""


def test_the_archive_holds_log_findings_and_show_and_no_secret(tmp_path, monkeypatch):
    (tmp_path / "show.yaml").write_text(SHOW)
    older, newest = tmp_path / "a.log", tmp_path / "b.log"
    older.write_text("long ago")
    newest.write_text("Traceback: opening srt://host?passphrase=stageleft failed")
    os.utime(older, (1, 1))
    monkeypatch.setattr(log_file, "folder", lambda: tmp_path)
    monkeypatch.setattr(log_file, "runs", lambda place: [older, newest])
    archive = tmp_path / "report.zip"
    names = bug_report.write(archive, [{"name": "torch", "state": "ok"}], tmp_path / "show.yaml")
    with zipfile.ZipFile(archive) as packed:
        texts = {name: packed.read(name).decode() for name in packed.namelist()}
    assert list(texts) == names
    assert set(texts) == {"doctor.json", "show.yaml", newest.name}
    assert json.loads(texts["doctor.json"]) == [{"name": "torch", "state": "ok"}]
    everything = "".join(texts.values())
    for secret in ("home.key", "stream-key-1234", "me:secret", "stageleft", "5678"):
        assert secret not in everything
    for kept in (
        "a stormy sea",
        "key: luma",
        "rtmp://live.example.org/app/",
        "host:9710",
        "sound: false",
        "latency=200",
        "Traceback",
    ):
        assert kept in everything


@pytest.mark.parametrize("text", ["", "prompt: turn the key to the left", "act: dance\n"])
def test_what_is_no_secret_stays_as_it_is(text):
    assert bug_report.without_secrets(text) == text

"""The log file of a run."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path

import pytest
from worldjockey.node.ipc import log_file


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the log folder is elsewhere, and no variable moves it"
)
def test_the_log_folder_is_where_the_system_wants_it() -> None:
    assert log_file.folder() == Path(os.environ["XDG_STATE_HOME"]) / "worldjockey" / "log"  # the tests' own (conftest)


def test_only_the_last_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "folder", lambda: tmp_path / "logs")
    (tmp_path / "logs").mkdir()
    for n in range(15):
        (tmp_path / "logs" / f"wj-20200101-0000{n:02}-1.log").touch()
    with log_file.run_log() as path:
        assert path is not None
        kept = log_file.runs(tmp_path / "logs")
    assert len(kept) == log_file.RUNS_KEPT
    assert kept[-1] == path
    assert kept[0].name == "wj-20200101-000006-1.log"


def test_a_record_has_process_logger_level_and_traceback(tmp_path: Path) -> None:
    with log_file.run_log(tmp_path / "run.log") as path:
        assert log_file.current_path() == path
        logging.getLogger("worldjockey.node.somewhere").info("it began")
        try:
            raise KeyError("place")
        except KeyError:
            logging.getLogger("worldjockey.node.somewhere").exception("it failed")
        thread = threading.Thread(target=lambda: 1 / 0, name="a thread")
        thread.start()
        thread.join()
    assert log_file.current_path() is None
    text = (tmp_path / "run.log").read_text()
    assert "wj control worldjockey.node.somewhere INFO it began" in text
    assert "Traceback (most recent call last)" in text
    assert "KeyError: 'place'" in text
    assert "unhandled exception in thread a thread" in text
    assert "ZeroDivisionError" in text
    assert "torch" in text.splitlines()[0]
    assert "numpy" in text.splitlines()[0]


def test_what_goes_wrong_in_the_run_is_logged(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), log_file.run_log(tmp_path / "run.log"):
        raise RuntimeError("no world")
    assert "RuntimeError: no world" in (tmp_path / "run.log").read_text()


def test_who_logs_does_not_wait_for_a_slow_disk() -> None:
    free, written = threading.Event(), []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            free.wait(60)
            written.append(record.getMessage())

    handler = log_file.QueuedHandler(Slow(), size=3)
    for n in range(10):
        handler.handle(logging.makeLogRecord({"msg": f"record {n}"}))
    assert not written
    dropped = handler.dropped
    assert dropped >= 6
    free.set()
    handler.close()
    assert f"{dropped} records were dropped: the disk was too slow" in written


def test_records_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    handlers = [log_file.AppendHandler(tmp_path / "run.log") for _ in range(4)]

    def write(handler: logging.Handler, n: int) -> None:
        for _ in range(200):
            handler.handle(logging.makeLogRecord({"msg": str(n) * 500, "levelname": "INFO"}))
        handler.close()

    threads = [threading.Thread(target=write, args=(handler, n)) for n, handler in enumerate(handlers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert len(lines) == 800
    assert all(line.endswith(line[-1] * 500) for line in lines)


def test_a_log_that_cannot_be_written_stops_no_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(log_file, "folder", lambda: tmp_path / "file" / "logs")
    with log_file.run_log() as path:
        assert path is None
        assert log_file.LOG_FILE_VARIABLE not in os.environ
    with pytest.raises(OSError, match="nowhere"), log_file.run_log(tmp_path / "nowhere" / "run.log"):
        pass

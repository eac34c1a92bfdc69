"""`wj bench --gpu`. Its table is tried on the CPU, since the card is only a name in it."""

import json

import pytest
from typer.testing import CliRunner
from worldjockey.node.cli.app import app
from worldjockey.node.measure import gpu


def test_without_a_card_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    result = CliRunner().invoke(app, ["bench", "--gpu"])
    assert result.exit_code != 0
    assert "wj doctor" in f"{result.output}{result.exception}"


@pytest.mark.slow
def test_every_size_and_runtime_is_measured_and_what_does_not_run_says_why(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, "STEPS", (1,))
    monkeypatch.setattr(gpu, "RUNTIMES", {"cpu": ("torch", "cuda-graphs")})
    found = gpu.run(tmp_path / "gpu.json", 0.5, "cpu")
    written = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row.get("fps") for row in written] == [row.get("fps") for row in found]
    assert [(row["size"], row["runtime"]) for row in found] == [
        ("small", "torch"), ("small", "cuda-graphs"), ("large", "torch"), ("large", "cuda-graphs"),
    ]  # fmt: skip
    small, failed, large, _ = found
    assert (small["pixels"], large["pixels"]) == ([512, 288], [1024, 576])
    assert small["fps"] > large["fps"] > 0
    assert large["copy_ms"]["p50"] < large["ms"]["p50"]
    assert "need a CUDA GPU" in failed["error"]
    assert "1024x576" in capsys.readouterr().out

"""What the doctor finds where a GPU cannot be used. The machines are made up; `wj doctor` tells on a real one."""

from __future__ import annotations

import socket

import pytest
from worldjockey.integrations.dmx import artnet, receiver_process
from worldjockey.node.measure.doctor import has_kernels, lighting_desks, nvidia, without_cuda, without_kernels
from worldjockey.node.measure.show_process import free_port

BUILT_FOR = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


@pytest.mark.parametrize(
    ("capability", "built_for", "there"),
    [
        ((8, 6), BUILT_FOR, True), ((8, 9), BUILT_FOR, True), ((6, 1), BUILT_FOR, False), ((7, 0), BUILT_FOR, False),
        ((12, 1), BUILT_FOR, True), ((13, 0), BUILT_FOR, False), ((13, 0), [*BUILT_FOR, "compute_120"], True),
        ((9, 0), ["sm_90a"], True), ((8, 0), [], True),
    ],
)  # fmt: skip
def test_a_gpu_has_kernels_of_its_own_generation_or_of_ptx(
    capability: tuple[int, int], built_for: list[str], there: bool
) -> None:
    assert has_kernels(capability, built_for) == there


def test_what_keeps_torch_from_a_gpu_is_told_apart_and_has_its_own_fix() -> None:
    old_driver = without_cuda("2.13.0+cu130", "13.0", 550, (8, 6))
    new_card = without_cuda("2.13.0+cu130", "13.0", 570, (12, 0))
    cpu_build = without_cuda("2.13.0+cpu", None, 580, (8, 9))
    cpu_build_and_old_driver = without_cuda("2.13.0", None, 550, (8, 9))
    cpu_build_and_old_card = without_cuda("2.13.0", None, 580, (6, 1))
    no_kernels = without_kernels("2.13.0", "GTX 1080", (6, 1), BUILT_FOR)
    too_new = without_kernels("2.13.0", "RTX 9090", (13, 0), BUILT_FOR)
    unseen = without_cuda("2.13.0", "13.0", 580, (8, 6))
    assert "550 is too old" in old_driver.detail
    assert "580 or newer" in old_driver.fix
    assert old_driver.fix.endswith("torch==2.13.0+cu126 --extra-index-url https://download.pytorch.org/whl/cu126")
    assert "580 or newer" in new_card.fix
    assert "cu126" not in new_card.fix, "that build has no kernels for it"
    for check, build in ((cpu_build, "cu130"), (cpu_build_and_old_driver, "cu126"), (cpu_build_and_old_card, "cu126")):
        assert "built for the CPU only" in check.detail
        assert check.fix.endswith(f"torch==2.13.0+{build} --extra-index-url https://download.pytorch.org/whl/{build}")
    assert "no kernels for GTX 1080 (sm_61)" in no_kernels.detail
    assert "torch==2.13.0+cu126" in no_kernels.fix
    assert "--upgrade" in too_new.fix
    assert "nvidia-smi" in unseen.fix
    assert without_cuda("2.13.0", "13.0", 0, (0, 0)) == unseen, "where nvidia-smi does not answer"
    assert {check.state for check in (old_driver, cpu_build, no_kernels, too_new, unseen)} == {"note"}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("580.95.05, 8.9", (580, (8, 9))), ("552.44, 12.0\n552.44, 8.6", (552, (12, 0))), ("", (0, (0, 0))),
        ('Field "compute_cap" is not a valid field to query.', (0, (0, 0))),
    ],
)  # fmt: skip
def test_the_driver_and_the_gpu_are_asked_of_nvidia_smi(tmp_path, monkeypatch, answer: str, found) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert nvidia() == found
    monkeypatch.setenv("PATH", "/nowhere")
    assert nvidia() == (0, (0, 0))


def test_a_lighting_program_that_has_the_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artnet, "PORT", free_port())  # not the real ones, on which other tests play
    monkeypatch.setattr(receiver_process, "SACN_PORT", free_port())
    assert lighting_desks().state == "ok"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", artnet.PORT))
        check = lighting_desks()
    assert check.state == "note"
    assert f"Art-Net (UDP port {artnet.PORT})" in check.detail
    assert "sACN" not in check.detail

"""What the doctor finds where a GPU cannot be used. The machines are made up; `wj doctor` tells on a real one."""

from __future__ import annotations

import pytest
from worldjockey.node.measure.doctor import has_kernels, without_cuda, without_kernels

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


def test_three_findings_have_three_fixes() -> None:
    old_driver = without_cuda("2.13", "12.8", 11040)
    cpu_build = without_cuda("2.13+cpu", None, 12080)
    no_kernels = without_kernels("2.13", "GTX 1080", (6, 1), BUILT_FOR)
    too_new = without_kernels("2.13", "RTX 9090", (13, 0), BUILT_FOR)
    unseen = without_cuda("2.13", "12.8", 12080)
    assert "supports CUDA 11.4, and 12.8 is needed" in old_driver.detail
    assert "nvidia.com/drivers" in old_driver.fix
    assert "built for the CPU only" in cpu_build.detail
    assert "--index-url" in cpu_build.fix
    assert "no kernels for GTX 1080 (sm_61)" in no_kernels.detail
    assert (no_kernels.fix[-5:], too_new.fix[-5:]) == ("cu126", "cu130")
    assert "nvidia-smi" in unseen.fix
    checks = (old_driver, cpu_build, no_kernels, too_new, unseen)
    assert len({check.fix for check in checks}) == 5
    assert {check.state for check in checks} == {"note"}

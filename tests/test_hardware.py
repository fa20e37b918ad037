"""Profiles: which one matches, and what happens where none does."""

import re
import subprocess
import sys

import pytest

from fl_attack_bench import hardware
from fl_attack_bench.errors import UserError
from fl_attack_bench.hardware import Machine, Profile


def machine(cpu="AMD EPYC 7763", *gpus):
    return Machine(cpu=cpu, cores=2, memory_gib=8, gpus=list(gpus), system="Linux")


def test_every_bundled_profile_is_sound_and_reports_both_links():
    assert set(hardware.bundled()) == {"xeon-cpu", "rtx-2080ti", "t4", "generic-cpu", "generic-cuda"}
    for name in hardware.bundled():
        profile = hardware.load(name)
        assert profile.name == name
        assert not profile.tf32
        assert {link.name: (link.bits_per_second, link.round_trip_seconds) for link in profile.links} == {
            "LAN": (1e9, 0.0002),
            "WAN": (1e8, 0.04),
        }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (machine(), "generic-cpu"),
        (machine("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz"), "xeon-cpu"),
        (machine("Intel(R) Xeon(R) CPU", "Tesla T4"), "t4"),
        (machine("Intel(R) Xeon(R) CPU", "NVIDIA T400 4GB"), "generic-cuda"),
        (machine("Intel(R) Core(TM) i9", "NVIDIA GeForce RTX 2080 Ti"), "rtx-2080ti"),
        (machine("AMD EPYC", "NVIDIA H200"), "generic-cuda"),
    ],
)
def test_auto_takes_the_most_particular_profile_that_matches(found, expected):
    profile, matched = hardware.choose("auto", found)
    assert (profile.name, matched) == (expected, True)


def test_a_named_profile_must_match_unless_forced():
    with pytest.raises(UserError, match=r"'t4' does not match this machine: no accelerator was found"):
        hardware.choose("t4", machine())
    with pytest.raises(UserError, match=r"the processor is 'AMD EPYC 7763', not 'Xeon'"):
        hardware.choose("xeon-cpu", machine())
    with pytest.raises(UserError, match=r"the accelerator is 'NVIDIA H200', not"):
        hardware.choose("t4", machine("AMD", "NVIDIA H200"))
    profile, matched = hardware.choose("t4", machine(), force=True)
    assert (profile.name, matched) == ("t4", False)
    assert hardware.choose("generic-cpu", machine("Xeon"))[1]


def test_an_unknown_profile_suggests_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"unknown hardware profile 'xeon'; did you mean 'xeon-cpu'"):
        hardware.choose("xeon", machine())
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ntitle: x\ndevice: cpu\nthreads: 1\nthread: 1\n"
        "links: [{name: x, bits_per_second: 1, round_trip_seconds: 0}]\n"
    )
    with pytest.raises(UserError, match=r"mine.yaml.*unknown key 'thread'; did you mean 'threads'"):
        hardware.load(str(path))
    path.write_text("name: mine\ntitle: x\ndevice: cpu\nthreads: 1\nmatch: {cpu: '('}\nlinks: []\n")
    with pytest.raises(UserError, match="not a regular expression"):
        hardware.load(str(path))


def test_detection_imports_no_torch_and_describes_the_machine():
    script = (
        "import sys; from fl_attack_bench import hardware; print(hardware.detect().described());"
        "assert 'torch' not in sys.modules"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert re.search(
        r"'cpu': '.+', 'cores': '\d+', 'memory': '[\d.]+ GiB', 'accelerator': '.+', 'system'", answer.stdout
    )


def test_a_broken_accelerator_tool_means_no_accelerator(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200'\necho 'NVIDIA H200'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert hardware.detect().gpus == ["NVIDIA H200", "NVIDIA H200"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert hardware.detect().gpus == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert hardware.detect().gpus == []


def test_calibration_gives_finite_figures_and_refuses_an_absent_accelerator():
    figures = hardware.calibrate(hardware.load("generic-cpu"))
    assert set(figures) == {"matrix_product_gflops", "convolution_gflops", "memory_copy_gb_per_second"}
    assert all(0 < value < 1e6 for value in figures.values())
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="torch sees no CUDA device"):
            hardware.calibrate(hardware.load("generic-cuda"))


def test_the_clock_runs():
    read = hardware.clock("cpu")
    assert read() <= read()


def test_a_profile_needs_a_link():
    with pytest.raises(ValueError, match="links"):
        Profile.model_validate({"name": "x", "title": "x", "device": "cpu", "threads": 1, "links": []})

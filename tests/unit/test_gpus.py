"""The GPUs of a training: by a library that stands in for the driver's, and by files that stand in for the kernel's."""

import os
import subprocess
from pathlib import Path

import pytest
import support

from runicorn.sampling.gpu_drivers import find
from runicorn.sampling.gpu_probe import GpuProbe
from runicorn.sampling.visible_gpus import listed

NUMBERS = {
    "utilization_percent": 12,
    "memory_utilization_percent": 5,
    "memory_bytes": 3_000_000_000,
    "memory_total_bytes": 80_000_000_000,
    "temperature_c": 41,
    "power_w": 250.5,
    "sm_clock_mhz": 1410,
    "memory_clock_mhz": 2619,
    "pcie_sent_bytes_per_s": 10_240,
    "pcie_received_bytes_per_s": 20_480,
}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A directory with the stand-in, compiled."""
    directory = tmp_path_factory.mktemp("driver")
    source = Path(support.__file__).parent / "nvml_stand_in.c"
    library = directory / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=100)
    return directory


@pytest.fixture
def probe_of(driver, tmp_path, monkeypatch):
    """Make a probe of the stand-in; its child ends with the test."""
    made = []
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)

    def make(visible=None, *, told=None, **options):
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        probe = GpuProbe(str(tmp_path), [].append if told is None else told.append, **options)
        made.append(probe)
        return probe

    yield make
    for probe in made:
        probe.close()


def of_gpu(numbers, gpu):
    """The numbers of one GPU."""
    return {name.partition("/")[2]: value for name, value in numbers.items() if name.startswith(f"{gpu}/")}


def gpus_in(numbers):
    """Which GPUs numbers are of."""
    return {name.partition("/")[0] for name in numbers}


def test_of_eight_gpus_the_two_that_are_visible_are_read(probe_of):
    """With every number that the driver tells, in the units of its name."""
    numbers = probe_of("2,3").sample([])
    assert gpus_in(numbers) == {"gpu2", "gpu3"}
    assert of_gpu(numbers, "gpu2") == NUMBERS


def test_what_a_gpu_does_not_offer_is_told_once_and_takes_nothing_with_it(probe_of):
    """GPU 1 of the stand-in has no power, and no GPU of it has NVLink."""
    told = []
    probe = probe_of("1", told=told)
    first, second = probe.sample([]), probe.sample([])
    assert first == second
    assert set(NUMBERS) - set(of_gpu(first, "gpu1")) == {"power_w"}
    assert [text for text in told if "power" in text] == [
        "gpu1 does not give: power", "gpu1 does not give: power limit"
    ]  # fmt: skip
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("GPU-4", {"gpu4"}), ("MIG-one", {"gpu7.mig3"}), ("6,-1,2", {"gpu6"}), ("", set()), ("99", set())],
)
def test_gpus_are_named_by_index_by_the_beginning_of_a_uuid_and_by_an_instance(probe_of, visible, gpus):
    """As CUDA reads it: what is no index, or below zero, ends the list."""
    assert gpus_in(probe_of(visible).sample([])) == gpus


def test_an_instance_has_its_memory_and_no_utilisation(probe_of):
    """A MIG instance does not offer the latter."""
    numbers = of_gpu(probe_of("MIG-one").sample([]), "gpu7.mig3")
    assert numbers["memory_bytes"] == 101_000_000_000
    assert "utilization_percent" not in numbers


def test_a_gpu_that_a_process_of_the_training_uses_is_read_too(probe_of, monkeypatch):
    """With the memory of that process, and not of others."""
    monkeypatch.setenv("STAND_IN_PID", str(os.getpid()))
    probe = probe_of("0")
    numbers = probe.sample([os.getpid()])
    assert gpus_in(numbers) == {"gpu0", "gpu5"}
    assert of_gpu(numbers, "gpu5")["tree_memory_bytes"] == 123_000_000
    assert gpus_in(probe.sample([])) == {"gpu0"}


def test_a_call_that_hangs_costs_samples_and_the_process_that_made_it_is_gone(probe_of, monkeypatch):
    """The probe gives up after three."""
    monkeypatch.setenv("STAND_IN_HANGS", "1")
    told = []
    probe = probe_of("0", told=told, begin_s=0.5, pause_s=0.0)
    children = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: children.append(popen(*a, **k)) or children[-1])
    assert [probe.sample([]) for _ in range(4)] == [{}] * 4
    assert [child.poll() is not None for child in children] == [True] * 3
    assert told == ["the GPUs were not sampled: the driver has not answered for 0.5 s"] * 3


def test_without_a_driver_there_is_no_probe(tmp_path):
    """And no process of one."""
    assert find(str(tmp_path), print) is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert find(str(tmp_path), print) is not None


def test_a_driver_that_cannot_be_loaded_is_told(probe_of, monkeypatch):
    """Then there are no numbers."""
    monkeypatch.delenv("LD_LIBRARY_PATH")
    told = []
    assert probe_of("0", told=told).sample([]) == {}
    assert [text.split(":")[0] for text in told] == ["NVIDIA's GPUs are not sampled"]


def test_amd_gpus_are_read_from_files_of_the_kernel(probe_of, tmp_path, monkeypatch):
    """Of two cards the one that the variable names; a file that is not there leaves a gap."""
    monkeypatch.delenv("LD_LIBRARY_PATH")
    for card, busy in (("card1", 37), ("card2", 93)):
        directory = tmp_path / "sys/class/drm" / card / "device"
        (directory / "hwmon/hwmon4").mkdir(parents=True)
        for name, value in {
            "gpu_busy_percent": busy,
            "mem_info_vram_used": 5_000_000,
            "mem_info_vram_total": 64_000_000,
            "hwmon/hwmon4/temp1_input": 51_000,
            "hwmon/hwmon4/power1_average": 300_500_000,
        }.items():
            (directory / name).write_text(f"{value}\n")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    assert find(str(tmp_path), print) is not None
    assert probe_of().sample([]) == {
        "gpu1/utilization_percent": 93,
        "gpu1/memory_bytes": 5_000_000,
        "gpu1/memory_total_bytes": 64_000_000,
        "gpu1/temperature_c": 51.0,
        "gpu1/power_w": 300.5,
    }


def test_the_variable_is_read_as_cuda_reads_it():
    """None is all; empty is none."""
    assert listed(None) is None
    assert listed("") == listed("-1") == listed("none") == []
    assert listed("1, 0,x,2") == ["1", "0"]

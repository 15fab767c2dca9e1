"""The GPUs of a training: by a library that stands in for the driver's, and by files that stand in for the kernel's."""

import ctypes
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pynvml
import pytest
from support import wait_until
from support.machine import stand_in_driver

from runicorn.sampling import nvidia_links
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
    "power_limit_w": 700.0,
    "sm_clock_mhz": 1410,
    "memory_clock_mhz": 2619,
    "throttle_reasons": 0x24,
    "ecc_errors": 2,
    "pcie_sent_bytes_per_s": 10_240,
    "pcie_received_bytes_per_s": 20_480,
}
ACTIVITY = {"sm_activity_percent": 61.25, "sm_occupancy_percent": 33.5, "tensor_activity_percent": 12.5}
LINKS = {"nvlink_sent_bytes_per_s", "nvlink_received_bytes_per_s"}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A directory with the stand-in, compiled."""
    return stand_in_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def children(monkeypatch):
    """The processes that probes have started, in the order of their starts."""
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    return started


@pytest.fixture
def probe_of(driver, children, tmp_path, monkeypatch):
    """Make a probe of the stand-in; its child ends with the test."""
    made = []
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)

    def make(visible=None, *, told=None, **options):
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        options = {"begin_s": 60.0, "answer_s": 60.0, **options}
        probe = GpuProbe(str(tmp_path), [].append if told is None else told.append, **options)
        made.append(probe)
        return probe

    yield make
    for probe in made:
        probe.close()
    for child in children:
        child.wait(60)


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


def sampled_until(probe, is_enough):
    """Samples of one GPU, without its name, up to the first one that fulfils a condition."""
    found = []

    def has_enough():
        found.append({name.partition("/")[2]: value for name, value in probe.sample([]).items()})
        return is_enough(found[-1])

    wait_until(has_enough, what="such a sample")
    return found


def test_what_is_counted_comes_with_the_second_sample(probe_of):
    """Bytes of NVLink and activity of the SMs come with the second sample; all other numbers come with the first."""
    found = sampled_until(probe_of("2"), lambda numbers: {*ACTIVITY, *LINKS} <= numbers.keys())
    assert found[0] == NUMBERS
    assert found[-1] == {**NUMBERS, **ACTIVITY, **{name: found[-1][name] for name in LINKS}}


@pytest.mark.parametrize(
    ("gpu", "missing", "told"),
    [
        ("1", {"power_w", "power_limit_w", *LINKS, *ACTIVITY}, ["power", "power limit", *sorted(LINKS), "SM activity"]),
        ("4", {"ecc_errors"}, ["ECC errors"]),
        (
            "6",
            {"pcie_sent_bytes_per_s", "nvlink_received_bytes_per_s", "tensor_activity_percent"},
            ["PCIe, sent", "nvlink_received_bytes_per_s", "tensor_activity_percent"],
        ),
    ],
)
def test_what_a_gpu_does_not_offer_is_told_once_and_takes_nothing_with_it(probe_of, gpu, missing, told):
    """A missing number is told once, and other numbers stay, even those from the same call of the driver."""
    said = []
    probe = probe_of(gpu, told=said)
    expected = {*NUMBERS, *ACTIVITY, *LINKS} - missing
    found = sampled_until(probe, lambda numbers: numbers.keys() == expected)
    found.append(probe.sample([]))
    assert not missing & set().union(*found)
    assert sorted(said) == sorted(f"gpu{gpu} does not give: {what} (Not Supported)" for what in told)


@pytest.mark.parametrize(
    ("what", "numbers"), [("power", {"power_w"}), ("NVLink", LINKS), ("SM activity", ACTIVITY.keys())]
)
def test_a_call_that_fails_once_leaves_one_gap(probe_of, monkeypatch, what, numbers):
    """A call that fails once is told, other numbers stay, and the next sample has the number again."""
    monkeypatch.setenv("STAND_IN_FAILS_ONCE", what)
    told = []
    probe = probe_of("2", told=told)
    before = sampled_until(probe, lambda _: told)
    after = sampled_until(probe, lambda found: {*NUMBERS, *ACTIVITY, *LINKS} <= found.keys())
    assert not before[-1].keys() & numbers
    assert all(NUMBERS.keys() - numbers <= found.keys() for found in before + after)
    assert told == [f"gpu2 did not give: {what} (Timeout)"]


def test_two_samples_that_follow_at_once_say_nothing_of_the_sms(probe_of):
    """NVIDIA's monitors give 0 for two samples that are too close, so this number is missing then."""
    probe = probe_of("2")
    found = [probe.sample([]) for _ in range(20)]
    assert {sample["gpu2/sm_activity_percent"] for sample in found if "gpu2/sm_activity_percent" in sample} <= {61.25}


def test_bytes_of_nvlink_are_those_since_the_last_sample(driver, tmp_path, monkeypatch):
    """Bytes of NVLink are counted in each direction; if a counter starts again, the rate is missing once."""
    now = iter(range(0, 100, 10))
    monkeypatch.setattr(nvidia_links.time, "monotonic", lambda: float(next(now)))
    library = tmp_path / "libnvidia-ml.so.1"
    library.write_bytes((driver / library.name).read_bytes())  # with counts of its own
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    links = nvidia_links.NvLinks()
    handle = pynvml.nvmlDeviceGetHandleByIndex(3)
    rates = {"nvlink_sent_bytes_per_s": 102_400.0, "nvlink_received_bytes_per_s": 307_200.0}
    assert [links.read(handle) for _ in range(5)] == [{}, rates, rates, {}, rates]


def test_an_older_driver_is_asked_by_the_names_that_it_has(tmp_path, monkeypatch, probe_of):
    """Old and new drivers give every number, although NVIDIA replaces functions and removes the old ones."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stand_in_driver(tmp_path / "old", "-DOLD_DRIVER")))
    monkeypatch.setenv("STAND_IN_PID", str(os.getpid()))
    told = []
    numbers = of_gpu(probe_of("5", told=told).sample([os.getpid()]), "gpu5")
    expected = {**NUMBERS, "utilization_percent": 15, "memory_bytes": 6_000_000_000}
    assert numbers == {**expected, "temperature_c": 39, "throttle_reasons": 1, "tree_memory_bytes": 123_000_000}
    assert told == []


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


def test_memory_of_a_process_that_the_driver_does_not_tell_is_missing(probe_of, monkeypatch):
    """Unknown memory of a process is missing and not 0, and its GPU is still sampled."""
    monkeypatch.setenv("STAND_IN_PID", str(os.getpid()))
    monkeypatch.setenv("STAND_IN_MEMORY", "unknown")
    numbers = probe_of("0").sample([os.getpid()])
    assert gpus_in(numbers) == {"gpu0", "gpu5"}
    assert of_gpu(numbers, "gpu5").keys() == NUMBERS.keys()


def test_a_gpu_that_is_named_twice_is_read_once(probe_of):
    """A GPU that is named twice is read once, because a second reading would have rates over no time."""
    found = sampled_until(probe_of("2,GPU-2"), lambda numbers: numbers.keys() >= LINKS)
    assert len(found) == 2


def test_a_call_that_hangs_costs_samples_and_the_process_that_made_it_is_gone(probe_of, children, monkeypatch):
    """The probe gives up after three."""
    monkeypatch.setenv("STAND_IN_HANGS", "1")
    told = []
    probe = probe_of("0", told=told, begin_s=0.5, pause_s=0.0)
    assert [probe.sample([]) for _ in range(4)] == [{}] * 4
    assert [child.poll() is not None for child in children] == [True] * 3
    assert told == ["the GPUs were not sampled: the driver has not answered for 0.5 s"] * 3


def test_an_answer_that_comes_late_is_taken(probe_of, children):
    """A late answer is taken if the process that asks the driver was stopped and goes on."""
    probe = probe_of("2")
    first = probe.sample([])
    children[0].send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(probe.sample, [])
        children[0].send_signal(signal.SIGCONT)
        assert late.result(60).items() >= first.items()


def test_failures_that_lie_apart_do_not_end_the_sampling(probe_of, children):
    """Sampling ends only after three failures in a row, so single failures in a long run do not end it."""
    told = []
    probe = probe_of("2", told=told, pause_s=0.0)
    for _ in range(5):
        assert probe.sample([])
        children[-1].kill()
        children[-1].wait(60)
        assert probe.sample([]) == {}
        assert children[-1].stdin.closed
        assert children[-1].stdout.closed
    assert len(told) == 5


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


@pytest.fixture
def amd(probe_of, tmp_path, monkeypatch):  # noqa: ARG001 - it sets the variables
    """Two AMD cards, and a process that has both open, as with ROCm; a test sets its memory on each card."""
    monkeypatch.delenv("LD_LIBRARY_PATH")
    devices = [f"0000:{bus}:00.0" for bus in ("c1", "c6")]
    for number, (device, busy) in enumerate(zip(devices, (37, 93), strict=True), 1):
        directory = tmp_path / "sys/devices/pci0000:c0" / device
        (directory / "hwmon/hwmon4").mkdir(parents=True)
        for name, value in {
            "gpu_busy_percent": busy,
            "mem_info_vram_used": 5_000_000,
            "mem_info_vram_total": 64_000_000,
            "hwmon/hwmon4/temp1_input": 51_000,
            "hwmon/hwmon4/power1_average": 300_500_000,
        }.items():
            (directory / name).write_text(f"{value}\n")
        card = tmp_path / f"sys/class/drm/card{number}"
        card.mkdir(parents=True)
        (card / "device").symlink_to(directory)

    def process(pid, *sizes, client=5):
        for name in ("fd", "fdinfo"):
            (tmp_path / f"proc/{pid}" / name).mkdir(parents=True, exist_ok=True)
        for number, (device, size) in enumerate(zip(devices, sizes, strict=True), 3):
            (tmp_path / f"proc/{pid}/fd/{number}").symlink_to(f"/dev/dri/renderD{125 + number}")
            text = f"pos:\t0\ndrm-driver:\tamdgpu\ndrm-pdev:\t{device}\ndrm-client-id:\t{client}\n"
            (tmp_path / f"proc/{pid}/fdinfo/{number}").write_text(f"{text}drm-memory-vram:\t{size}\n")
        (tmp_path / f"proc/{pid}/fd/9").symlink_to("/dev/null")

    return process


AMD = {"utilization_percent": 93, "memory_bytes": 5_000_000, "memory_total_bytes": 64_000_000}


@pytest.mark.usefixtures("amd")
def test_amd_gpus_are_read_from_files_of_the_kernel(probe_of, tmp_path, monkeypatch):
    """The card that the variable names is sampled; a missing file leaves out its number."""
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    assert find(str(tmp_path), print) is not None
    assert probe_of().sample([77]) == {
        **{f"gpu1/{name}": value for name, value in AMD.items()}, "gpu1/temperature_c": 51.0, "gpu1/power_w": 300.5
    }  # fmt: skip


def test_an_amd_gpu_on_which_the_training_has_memory_is_read_without_the_variable(probe_of, amd):
    """A card with memory of the training is sampled, and one that is only open is not; a forked child counts once."""
    amd(77, "3072 KiB", "200000 KiB")
    amd(78, "3072 KiB", "200000 KiB")
    amd(79, "0", "100000 KiB", client=6)
    amd(99, "4000000 KiB", "4000000 KiB", client=7)
    probe = probe_of()
    assert probe.sample([4711]) == {}
    numbers = probe.sample([77, 78, 79])
    assert gpus_in(numbers) == {"gpu1"}
    assert of_gpu(numbers, "gpu1").items() > AMD.items()
    assert numbers["gpu1/tree_memory_bytes"] == 300_000 * 1024


def test_an_amd_gpu_that_the_training_uses_is_read_beside_those_of_the_variable(probe_of, amd, monkeypatch):
    """A card that the training uses is sampled even if the variable does not name it."""
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0")
    amd(77, "3072 KiB", "200000 KiB")
    numbers = probe_of().sample([77])
    assert gpus_in(numbers) == {"gpu0", "gpu1"}
    assert numbers["gpu0/tree_memory_bytes"] == 3 << 20


def test_the_variable_is_read_as_cuda_reads_it():
    """None is all; empty is none."""
    assert listed(None) is None
    assert listed("") == listed("-1") == listed("none") == []
    assert listed("1, 0,x,2") == ["1", "0"]

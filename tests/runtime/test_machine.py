"""Machines that are not at hand, by the texts that they give."""

import pytest

from vtp_export.runtime import machine
from vtp_export.runtime.machine import Gpu

ORIN = "NVIDIA Jetson AGX Orin Developer Kit\0"
THOR = "NVIDIA Jetson AGX Thor Developer Kit\0"


def release(major, revision):
    head = f"# R{major} (release), REVISION: {revision}, GCID: 1234, BOARD: generic, EABI: aarch64"
    return head + ", DATE: Wed Jan 8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot"


@pytest.mark.parametrize(
    ("model", "text", "expected"),
    [
        (ORIN, release(36, "4.3"), "NVIDIA Jetson AGX Orin Developer Kit, L4T 36.4.3 (JetPack 6)"),
        (ORIN, release(35, "5.0"), "NVIDIA Jetson AGX Orin Developer Kit, L4T 35.5.0 (JetPack 5)"),
        (THOR, release(38, "2.0"), "NVIDIA Jetson AGX Thor Developer Kit, L4T 38.2.0 (JetPack 7)"),
        (THOR, release(99, "1.0"), "NVIDIA Jetson AGX Thor Developer Kit, L4T 99.1.0"),
        ("", release(36, "4.3"), "a Tegra board, L4T 36.4.3 (JetPack 6)"),
        (ORIN, "", "NVIDIA Jetson AGX Orin Developer Kit"),
        ("Raspberry Pi 5 Model B Rev 1.0\0", "", None),
        ("", "", None),
    ],
)
def test_boards(model, text, expected):
    assert machine.board(model, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@x)", "580.65.06"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (b@x)", "540.4.0"),
        ("", None),
        ("something else", None),
    ],
)
def test_drivers(text, expected):
    assert machine.driver(text) == expected


def test_gpus_of_a_server():
    table = "NVIDIA H100 80GB HBM3, 9.0, 81559 MiB\nNVIDIA L4, 8.9, 23034 MiB\n"
    assert machine.gpus(table, "") == [
        Gpu("NVIDIA H100 80GB HBM3", "9.0", "81559 MiB"),
        Gpu("NVIDIA L4", "8.9", "23034 MiB"),
    ]


def test_the_gpu_of_a_jetson_is_known_by_its_board():
    assert machine.gpus("", ORIN) == [Gpu("NVIDIA Jetson AGX Orin Developer Kit", "8.7", "shared with the CPU")]
    assert machine.gpus("Orin (nvgpu), [N/A], [N/A]", ORIN) == [Gpu("Orin (nvgpu)", "8.7", None)]
    assert machine.gpus("NVIDIA Thor, 11.0, [N/A]", THOR) == [Gpu("NVIDIA Thor", "11.0", None)]


def test_no_gpu():
    assert machine.gpus("", "") == []
    assert machine.gpus("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "") == []


def test_libraries():
    cache = """\
1042 libs found in cache `/etc/ld.so.cache'
\tlibnvinfer_plugin.so.10 (libc6,AArch64) => /lib/aarch64-linux-gnu/libnvinfer_plugin.so.10
\tlibnvinfer.so.10 (libc6,AArch64) => /lib/aarch64-linux-gnu/libnvinfer.so.10
\tlibnvinfer.so (libc6,AArch64) => /lib/aarch64-linux-gnu/libnvinfer.so
\tlibcudart.so.12 (libc6,AArch64) => /usr/local/cuda/lib64/libcudart.so.12
\tlibcublasLt.so.12 (libc6,AArch64) => /usr/local/cuda/lib64/libcublasLt.so.12
"""
    assert machine.libraries(cache) == ["libcudart.so.12", "libnvinfer.so.10"]
    assert machine.libraries("") == []


def test_processors():
    x86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7B13\nflags\t: fpu"
    assert machine.processor(x86, "x86_64", 8) == "AMD EPYC 7B13, 8 cores"
    assert machine.processor("processor\t: 0\nCPU part\t: 0xd42", "aarch64", 12) == "aarch64, 12 cores"


def test_memory():
    assert machine.memory_bytes("MemTotal:       7990000 kB\nMemFree: 1 kB\nMemAvailable:    5000000 kB\n") == (
        7990000 * 1024,
        5000000 * 1024,
    )
    assert machine.memory_bytes("") is None


@pytest.mark.parametrize(
    ("number", "version"), [(8502, "8.5.2"), (100300, "10.3.0"), (101601, "10.16.1"), (110401, "11.4.1")]
)
def test_versions_of_tensorrt(number, version):
    assert machine.inference_version(number) == version


def test_a_program_that_is_not_there_says_nothing():
    assert machine._run("no-such-program-here") == ""
    assert machine._run("sh", "-c", "echo half; exit 1") == ""
    assert machine._run("echo", "hello") == "hello\n"

"""The filter of system calls, run by a machine of our own for both processors."""

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug._confine import seccomp
from btplug._confine.syscalls import MACHINES, NUMBERS, YOUNGEST, number

PID = 4711
ALLOW, KILL = "allow", "kill"
ANSWERS = {0x7FFF0000: ALLOW, 0x80000000: KILL}
ANSWERS |= {0x50000 | code: name for code, name in errno.errorcode.items()}
HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}
WORDS = st.integers(0, 2**64 - 1)


def run(code, audit, number, arguments=()):
    """Run a filter over one call, as bpf(4) and seccomp(2) say; return its answer."""
    steps = list(struct.iter_unpack("=HBBI", code))
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, audit, 0, *padded)
    at, value = 0, 0
    while True:
        kind, yes, no, k = steps[at]
        at += 1
        if kind == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        elif kind == 0x54:
            value &= k
        elif kind == 0x06:
            return ANSWERS[k]
        else:
            tests = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}
            at += yes if tests[kind] else no


@pytest.fixture(params=MACHINES)
def ask(request):
    machine = MACHINES[request.param]
    code = seccomp.program(machine, PID, 7)

    def answer(name, *arguments):
        found = number(name, machine) if isinstance(name, str) else name
        if found is None:
            pytest.skip(f"{name} is not there on {request.param}")
        return run(code, machine.audit, found, arguments)

    answer.machine = machine
    return answer


@pytest.mark.parametrize("name", seccomp.DENIED.split())
def test_a_denied_call_is_not_permitted_whatever_its_arguments(ask, name):
    assert ask(name) == ask(name, *[2**64 - 1] * 6) == "EPERM"


@pytest.mark.parametrize("name", seccomp.MISSING.split())
def test_a_missing_call_is_not_there(ask, name):
    assert ask(name) == ask(name, *[2**64 - 1] * 6) == "ENOSYS"


def test_every_other_known_call_is_allowed_or_judged(ask):
    named = {*seccomp.DENIED.split(), *seccomp.MISSING.split()}
    named |= set(seccomp._judged(PID, 7))
    numbers = {number(name, ask.machine) for name in named}
    for other in set(range(YOUNGEST + 1)) - numbers:
        assert ask(other) == ALLOW, other


@pytest.mark.parametrize("number", [YOUNGEST + 1, 1000, 0x40000000 + 39, 2**32 - 1])
def test_calls_of_tomorrow_and_of_x32_are_not_there(ask, number):
    assert ask(number) == "ENOSYS"


@pytest.mark.parametrize("audit", [0x40000003, 0x40000028, 0, 0xC00000F3])
def test_calls_of_another_processor_end_the_process(ask, audit):
    code = seccomp.program(ask.machine, PID, 7)

    assert run(code, audit, 0) == KILL


CASES = [
    # threads, as glibc and musl make them; processes and namespaces
    ("clone", [0x3D0F00], ALLOW),
    ("clone", [0x7D0F00], ALLOW),
    ("clone", [17], "EPERM"),
    ("clone", [0x4111], "EPERM"),
    *[("clone", [0x10000 | 1 << n], "EPERM") for n in (7, 17, 25, 26, 27, 28, 29, 30)],
    ("socketpair", [1, 1 | 0o2000000 | 0o4000], ALLOW),
    ("socketpair", [1, 5], ALLOW),
    ("socketpair", [1, 2], "EPERM"),
    ("socketpair", [1, 3], "EPERM"),
    ("socketpair", [2, 1], "EPERM"),
    ("socketpair", [2**32 + 2, 1], "EPERM"),
    ("sendto", [3, 1, 1, 0, 0, 0], ALLOW),
    ("sendto", [3, 1, 1, 0, 1, 16], "EPERM"),
    ("sendto", [3, 1, 1, 0, 2**32, 16], "EPERM"),
    ("prlimit64", [0, 7, 0], ALLOW),
    ("prlimit64", [PID, 7, 0], ALLOW),
    ("prlimit64", [0, 7, 1], "EPERM"),
    ("prlimit64", [0, 7, 2**40], "EPERM"),
    ("sched_setaffinity", [0], ALLOW),
    ("sched_setaffinity", [1], "EPERM"),
    *[
        (name, [who], answer)
        for name in ("kill", "tgkill", "tkill")
        for who, answer in (
            (PID, ALLOW),
            (1, "EPERM"),
            (0, "EPERM"),
            (2**32 - 1, "EPERM"),
        )
    ],
    ("fcntl", [3, 1], ALLOW),
    ("fcntl", [3, 8], "EPERM"),
    ("fcntl", [3, 10], "EPERM"),
    ("fcntl", [3, 15], "EPERM"),
    ("fcntl", [3, 2**32 + 8], "EPERM"),
    ("fcntl", [3, 1024], "EPERM"),
    ("fcntl", [3, 1025], ALLOW),
    ("fcntl", [3, 1026], "EPERM"),
    ("fcntl", [3, 1040], "EPERM"),
    ("ioctl", [3, 0x5401], ALLOW),
    ("ioctl", [0, 0x5412], "EPERM"),
    ("ioctl", [0, 2**32 + 0x5412], "EPERM"),
    ("ioctl", [0, 0x541C], "EPERM"),
    ("ioctl", [0, 0x540E], "EPERM"),
    ("ioctl", [0, 0x8901], "EPERM"),
    ("ioctl", [0, 0x8902], "EPERM"),
    ("ioctl", [3, 0x80086601], ALLOW),
    ("ioctl", [3, 0x40086602], "EPERM"),
    ("ioctl", [3, 0x40087602], "EPERM"),
    ("ioctl", [3, 0x40086604], "EPERM"),
    ("ioctl", [3, 0x401C5820], "EPERM"),
    ("ioctl", [3, 0x40806685], "EPERM"),
    ("ioctl", [3, 0x800C6613], "EPERM"),
    ("prctl", [15], ALLOW),
    ("prctl", [1], "EPERM"),
    ("prctl", [4], "EPERM"),
    ("prctl", [0x59616D61], "EPERM"),
    ("open", [1, 0], ALLOW),
    ("open", [1, 0o1101], ALLOW),
    ("open", [1, 3], "EPERM"),
    ("openat", [0, 1, 0], ALLOW),
    ("openat", [0, 1, 0o1000], ALLOW),
    ("openat", [0, 1, 0o2000003], "EPERM"),
    ("openat", [0, 1, 0o1003], "EPERM"),
    *[
        (name, [*before, flags, mode], answer)
        for name, before in (("open", [1]), ("openat", [0, 1]))
        for flags, mode, answer in (
            (0o101, 0o1777, ALLOW),
            (0o101, 0o4700, "EPERM"),
            (0o1102, 0o2700, "EPERM"),
            (0o20200002, 0o6700, "EPERM"),
            (0o103, 0o700, "EPERM"),
            (0o1, 0o6777, ALLOW),  # garbage: nothing is made
        )
    ],
    *[
        (name, [*before, mode], answer)
        for name, before in (("creat", [1]), ("mknod", [1]), ("mknodat", [0, 1]))
        for mode, answer in (
            (0o100755, ALLOW),
            (0o104755, "EPERM"),
            (0o102755, "EPERM"),
        )
    ],
    ("truncate", [], ALLOW),
]


@pytest.mark.parametrize(("name", "arguments", "answer"), CASES)
def test_a_call_is_judged_by_its_arguments(ask, name, arguments, answer):
    assert ask(name, *arguments) == answer


@pytest.mark.parametrize("landlock", [1, 2])
def test_where_landlock_cannot_keep_files_from_being_cut_the_filter_does(landlock):
    machine = MACHINES["x86_64"]
    code = seccomp.program(machine, PID, landlock)

    def answer(name, *arguments):
        return run(code, machine.audit, number(name, machine), arguments)

    assert answer("truncate") == "EPERM"
    assert answer("openat", 0, 1, 0o1000) == answer("open", 1, 0o1000) == "EPERM"
    assert answer("openat", 0, 1, 0o1001) == answer("openat", 0, 1, 0) == ALLOW


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.lists(WORDS, max_size=6)
)
def test_a_filter_answers_every_call_there_can_be(audit, call, arguments):
    for machine in MACHINES.values():
        code = seccomp.program(machine, PID, 1)
        assert run(code, audit, call, arguments)
        assert run(code, machine.audit, call, arguments) in (ALLOW, "EPERM", "ENOSYS")


def test_a_filter_is_shorter_than_the_kernel_takes():
    for machine in MACHINES.values():
        assert len(seccomp.program(machine, PID, 1)) // 8 <= 4096


def test_every_call_stands_in_one_list_only():
    names = [*seccomp.DENIED.split(), *seccomp.MISSING.split()]

    assert len(names) == len(set(names))
    assert not set(names) & set(seccomp._judged(PID, 1))


def test_no_name_is_in_the_table_for_nothing():
    used = {*seccomp.DENIED.split(), *seccomp.MISSING.split()}
    used |= set(seccomp._judged(PID, 1))
    used |= {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}

    assert set(NUMBERS) == used


@pytest.mark.parametrize("column", HEADERS)
def test_the_numbers_are_those_of_the_system_headers(column):
    if not HEADERS[column].exists():
        pytest.skip("the headers of the kernel are not installed")
    pattern = re.compile(r"^#define __NR(?:3264)?_(\w+) (\d+)$", re.M)
    there = dict(pattern.findall(HEADERS[column].read_text()))
    for name, numbers in NUMBERS.items():
        if name in there:
            assert numbers[column] == there[name], name
    assert len(set(there) & set(NUMBERS)) > 80

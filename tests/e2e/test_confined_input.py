"""Standard input that a confined plugin shares with a shell: it reads, no more."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="nothing confines a plugin here"
)
READ = "import sys\nreturn sys.stdin.read()"
INJECT = """
with open("/proc/self/fd/0", "wb", 0) as pipe:
    pipe.write(b"\\necho injected\\n")
"""
SEEK = """
os.lseek(0, os.pread(0, 10000, 0).index(b"echo skipped"), 0)
return "moved"
"""


@pytest.fixture
def it(command, tmp_path):
    """Write a command where nothing but the command line consents to it."""
    return lambda execute: command("it", execute, where=tmp_path / "there")


RUN = "$B --plugin-dir there run it"


def test_a_plugin_writes_nothing_into_the_pipe_that_it_reads(it, shell):
    """A shell that reads its script from there would run it."""
    it(INJECT)

    done = shell(f"{{ echo '{RUN}'; echo 'echo last'; }} | bash")

    assert done.stdout == "last\n"
    assert "Permission denied: '/proc/self/fd/0'" in done.stderr


def test_a_plugin_does_not_move_a_shell_to_another_place_of_its_script(
    it, shell, tmp_path
):
    it(SEEK)
    (tmp_path / "script").write_text(
        f"if false; then\necho skipped; exit\nfi\n{RUN}\necho last\n"
    )

    assert shell("bash < script").stdout == "moved\nlast\n"


@pytest.mark.parametrize("give", ["< rows", "<<END\none\ntwo\nthree\nEND\n"])
def test_a_plugin_reads_on_from_where_others_have_read_to(give, it, shell, tmp_path):
    it(READ)
    (tmp_path / "rows").write_text("one\ntwo\nthree\n")

    assert shell(f"{{ read first; {RUN}; }} {give}").stdout == "two\nthree\n"


def test_a_plugin_takes_no_row_from_a_loop_over_a_file(it, shell, tmp_path):
    it(READ)
    (tmp_path / "rows").write_text("one\ntwo\n")

    done = shell(f"while read row; do echo $row; {RUN} > said; done < rows")

    assert done.stdout == "one\ntwo\n"


SET = """
os.set_blocking(0, False)
return "set"
"""


@pytest.mark.parametrize("kind", ["pipe", "named", "device"])
def test_a_plugin_does_not_end_a_loop_over_a_pipe(kind, it, btplug, tmp_path):
    """What reads on would be told that nothing is there, where it is to wait."""
    it(SET)
    if kind == "device":  # it is not opened again, nor is a pipe of another user
        read, write = os.open("/dev/zero", os.O_RDONLY), -1
    elif kind == "named":
        os.mkfifo(tmp_path / "named")
        write = os.open(tmp_path / "named", os.O_RDWR)
        read = os.open(tmp_path / "named", os.O_RDONLY)
    else:
        read, write = os.pipe()
    words = [btplug.script, "--plugin-dir", "there", "run", "it"]

    done = subprocess.run(
        words, stdin=read, capture_output=True, text=True, cwd=tmp_path, timeout=30
    )

    assert (done.stdout, done.stderr) == ("set\n", "")
    assert os.get_blocking(read)
    for fd in {read, write} - {-1}:
        os.close(fd)


def test_a_named_pipe_that_nobody_writes_to_keeps_no_run_waiting(it, btplug, tmp_path):
    it(READ)
    os.mkfifo(tmp_path / "named")
    read = os.open(tmp_path / "named", os.O_RDONLY | os.O_NONBLOCK)
    words = [btplug.script, "--plugin-dir", "there", "run", "it"]

    done = subprocess.run(
        words, stdin=read, capture_output=True, text=True, cwd=tmp_path, timeout=30
    )

    assert (done.returncode, done.stderr) == (0, "")
    os.close(read)

"""Standard input that a confined plugin shares with a shell: it reads, no more."""

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

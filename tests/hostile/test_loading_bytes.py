"""The bytes that were checked are the bytes that run, and can be looked at."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from operating import COMMAND, accept
from stage import aside

from btplug._folders import folders
from btplug._installed import Spot
from btplug._load.codecache import CodeCache
from btplug._loader import load, unload
from btplug._trust.consent import manifest_in, pin_accountable, verdict
from btplug.errors import BtplugError
from btplug.trust import Accepted, TrustStore


@pytest.fixture
def consent():
    """Accept nothing: that is what is tested here."""
    return lambda **_: None


def spot_of(folder):
    return Spot(folder.name, "cli", str(folder), "user")


def trusted(folder):
    spot = spot_of(folder)
    pinned = pin_accountable(spot)
    own = manifest_in(CodeCache(None, pinned), spot)
    consent = Accepted(str(folder), own.name, "cli", own.version, pinned.digest, own.permissions)  # fmt: skip
    TrustStore(folders()).accept(consent, files={})


def answer(folder):
    """Check and load a plugin as a run does; return what its code says."""
    found = verdict(spot_of(folder), "cli", TrustStore(folders()))
    if found.state != "trusted":
        return found.state
    manifest = manifest_in(found.code, spot_of(folder))
    try:
        return load(manifest, found.code)().execute()
    finally:
        unload(manifest, found.code)


GOOD = "from .words import WORD\n" + COMMAND.replace('"hello"', "WORD")


@pytest.fixture
def it(make_plugin, home):
    folder = make_plugin("it", GOOD, where=home / "cli_plugins", files={"words.py": "WORD = 'good'\n"})  # fmt: skip
    trusted(folder)
    return folder


# -- P31


@pytest.mark.slow
def test_a_writer_that_flips_the_files_never_gets_its_bytes_run(it):
    """At least 1,000 loads, half of them with the compiled code cached."""
    chance = random.Random(1)
    stop, flips = threading.Event(), [0]
    words = {
        "good": b"WORD = 'good'\n", "evil": b"WORD = 'evil'\n", "long": b"WORD = 'evil' #\n",
    }  # fmt: skip

    def flip():
        fd = os.open(it / "words.py", os.O_RDWR)
        while not stop.is_set():
            data = words[chance.choice(["good", "good", "evil", "long"])]
            way = chance.randrange(3)
            if way == 0:  # in place
                os.pwrite(fd, data, 0)
                os.ftruncate(fd, len(data))
            elif way == 1:  # by another file
                (it / ".new").write_bytes(data)
                os.replace(it / ".new", it / "words.py")
                os.close(fd)
                fd = os.open(it / "words.py", os.O_RDWR)
            else:  # with the old times
                before = os.fstat(fd)
                os.pwrite(fd, data, 0)
                os.ftruncate(fd, len(data))
                os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
            flips[0] += 1
        os.close(fd)

    writer = threading.Thread(target=flip)
    seen = {}
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    writer.start()
    try:
        for _ in range(1500):
            try:
                found = answer(it)
            except BtplugError as exc:  # it was being replaced
                found = type(exc).__name__
            seen[found] = seen.get(found, 0) + 1
    finally:
        stop.set()
        writer.join()
        sys.setswitchinterval(old)

    assert sum(seen.values()) >= 1000
    assert "evil" not in seen, seen
    # The race was one: both sides were seen, many times.
    assert seen.get("good", 0) > 20, (seen, flips)
    assert seen.get("changed", 0) > 20, (seen, flips)


def test_files_that_change_after_the_check_change_nothing(it):
    found = verdict(spot_of(it), "cli", TrustStore(folders()))
    (it / "words.py").write_text("WORD = 'evil'\n")
    (it / "plugin.py").write_text("raise SystemExit")
    manifest = manifest_in(found.code, spot_of(it))

    cls = load(manifest, found.code)

    assert cls().execute() == "good"
    unload(manifest, found.code)


# -- the cache of compiled code


def cached(home):
    (path,) = (home / "trust" / "code").iterdir()
    return path


def poisoned(path, word, source=None):
    """Return what an attacker writes who knows the form."""
    import marshal
    from binascii import crc32

    about, files, *more, codes = marshal.loads(path.read_bytes()[4:])
    codes["words.py"] = marshal.dumps(compile(f"WORD = {word!r}", "words.py", "exec"))
    if source is not None:
        files["words.py"] = source
    body = marshal.dumps((about, files, *more, codes))
    return crc32(body).to_bytes(4, "big") + body


POISON = {
    "the old head": lambda path: path.read_bytes()[:4] + poisoned(path, "evil")[4:],
    "made of another source": lambda path: poisoned(path, "evil", b"WORD = 'evil'\n"),
    "more behind it": lambda path: path.read_bytes() + b"more",
    "one bit": lambda path: path.read_bytes()[:-9] + bytes([path.read_bytes()[-9] ^ 4]) + path.read_bytes()[-8:],
    "half": lambda path: path.read_bytes()[: path.stat().st_size // 2],
    "nothing": lambda path: b"",
    "four bytes": lambda path: b"\0" * 4,
    "zeros": lambda path: b"\0" * 4096,
    "noise": lambda path: os.urandom(4096),
}  # fmt: skip


@pytest.mark.parametrize("poison", POISON)
def test_a_poisoned_cache_does_not_run(poison, it, home):
    assert answer(it) == "good"
    path = cached(home)
    whole = path.read_bytes()

    path.write_bytes(POISON[poison](path))

    assert answer(it) == "good"
    assert cached(home).read_bytes() == whole


def test_the_poison_would_have_worked_with_the_right_sum(it, home):
    """The trap is armed: what is whole is run."""
    assert answer(it) == "good"
    path = cached(home)

    path.write_bytes(poisoned(path, "evil"))

    assert answer(it) == "evil"


def test_the_code_of_one_plugin_does_not_stand_for_another(it, home, make_plugin):
    assert answer(it) == "good"
    first = cached(home)
    other = make_plugin("other", GOOD, where=home / "cli_plugins", files={"words.py": "WORD = 'other'\n"})  # fmt: skip
    trusted(other)
    assert answer(other) == "other"
    (second,) = set((home / "trust" / "code").iterdir()) - {first}

    second.write_bytes(first.read_bytes())

    assert answer(other) == "other"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o666])
def test_code_that_others_may_touch_is_none(mode, it, home):
    assert answer(it) == "good"
    path = cached(home)
    path.write_bytes(poisoned(path, "evil"))
    path.chmod(mode)

    assert answer(it) == "good"
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_a_link_to_code_is_none(it, home, tmp_path):
    assert answer(it) == "good"
    path = cached(home)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(poisoned(path, "evil"))
    elsewhere.chmod(0o600)
    path.unlink()
    path.symlink_to(elsewhere)

    assert answer(it) == "good"
    assert not path.is_symlink()


def test_no_more_code_is_kept_than_of_so_many_plugins(it, home):
    code = home / "trust" / "code"
    code.mkdir()
    for number in range(250):
        (code / f"old-{number}").touch()
        os.utime(code / f"old-{number}", (number, number))

    assert answer(it) == "good"

    kept = {path.name for path in code.iterdir()}
    assert len(kept) == 200
    assert {"old-249", "old-51"} < kept
    assert not {"old-0", "old-50"} & kept


def test_one_file_is_kept_for_a_plugin_however_often_it_changes(it, home):
    for number in range(5):
        (it / "words.py").write_text(f"WORD = {number}\n")
        trusted(it)
        assert answer(it) == number

    assert len(list((home / "trust" / "code").iterdir())) == 1
    assert oct((home / "trust" / "code").stat().st_mode & 0o777) == "0o700"


# -- what people and tools see of it


FAILING = COMMAND.replace('return "hello"', "from .words import fail\n        fail(7)")


@pytest.fixture
def failing(make_plugin, home, btplug):
    words = "def fail(number):\n    raise ValueError(number)  # on this line\n"
    folder = make_plugin("it", FAILING, where=home / "cli_plugins", files={"words.py": words})  # fmt: skip
    accept(btplug, "it")
    return folder


def test_a_traceback_shows_lines_of_the_source(btplug, failing):
    for _ in range(2):  # compiled, and from the cache
        done = btplug("run", "it", BTPLUG_DEBUG="1")
        assert f'File "{failing / "words.py"}", line 2, in fail' in done.stderr
        assert "raise ValueError(number)  # on this line" in done.stderr


@pytest.mark.slow
def test_a_debugger_stops_and_lists_the_source(btplug, failing):
    (failing / "words.py").write_text("def fail(number):\n    breakpoint()\n    return number  # here\n")  # fmt: skip
    accept(btplug, "it")

    done = subprocess.run(
        [sys.executable, "-m", "btplug", "--in-process", "--plugin-dir", str(failing.parent.parent), "run", "it"],
        input="list\np number\nup\np data\ncontinue\n", capture_output=True, text=True, check=False,
        cwd=failing.parent, timeout=60,
    )  # fmt: skip

    assert "return number  # here" in done.stdout
    assert "(Pdb) 7" in done.stdout


def test_inspect_and_pkgutil_see_the_source(it):
    code = """
    import inspect, pkgutil, sys
    from importlib import resources
    from btplug import CLIPlugin

    class Plugin(CLIPlugin):
        def initialize(self, config): pass
        def execute(self, data=None):
            module = sys.modules[__name__]
            return (
                inspect.getsource(Plugin.shutdown).strip(),
                pkgutil.get_data(__name__, "data.txt"),
                module.__spec__.loader.get_source(__name__) == inspect.getsource(module),
                resources.files("." .join(__name__.split(".")[:-1]) + ".sub").joinpath("x.txt").read_text(),
                [p for p in sys.path if "cli_plugins" in p],
            )
        def shutdown(self): pass
    """
    from textwrap import dedent

    (it / "plugin.py").write_text("from . import sub\n" + dedent(code))
    (it / "data.txt").write_text("kept")
    (it / "sub").mkdir()
    (it / "sub" / "__init__.py").write_text("")
    (it / "sub" / "x.txt").write_text("beside")
    trusted(it)

    assert answer(it) == ("def shutdown(self): pass", b"kept", True, "beside", [])


# -- installed distributions


@pytest.fixture
def site(make_plugin, tmp_path, monkeypatch):
    """A distribution as an installer leaves it: RECORD, caches and a script."""
    site = tmp_path / "site"
    folder = make_plugin(
        "it", GOOD.replace(".words", "..words"), where=tmp_path / "built"
    )
    (site / "vendor").mkdir(parents=True)
    folder.rename(site / "vendor" / "inner")
    for name, text in {
        "vendor/__init__.py": "", "vendor/inner/__init__.py": "", "vendor/words.py": "WORD = 'good'\n",
        "vendor/data.bin": "\0", "vendor-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n",
        "vendor-1.0.dist-info/entry_points.txt": "[btplug.cli_plugins]\nit = vendor.inner\n",
        "vendor-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
    }.items():  # fmt: skip
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    files = [p.relative_to(site) for p in site.rglob("*") if p.is_file()]
    lines = [f"{path},," for path in files]
    lines += [
        "../bin/it,,",
        "vendor/__pycache__/words.pyc,,",
        "vendor-1.0.dist-info/RECORD,,",
    ]
    (site / "vendor-1.0.dist-info" / "RECORD").write_text("\n".join(lines) + "\n")
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return site


def test_an_installed_plugin_needs_trust_and_runs_what_was_accepted(btplug, site):
    assert btplug("run", "it").returncode == 6
    shown = accept(btplug, "it")
    listed = shown.splitlines()
    files = [line.split()[0] for line in listed[listed.index("") + 2 :] if line]

    assert files == [
        "vendor/__init__.py", "vendor/data.bin", "vendor/inner/__init__.py",
        "vendor/inner/config.yaml", "vendor/inner/plugin.py", "vendor/words.py",
    ]  # fmt: skip
    assert btplug("run", "it").stdout == "good\n"
    assert btplug("run", "it").stdout == "good\n"


def test_two_plugins_of_one_distribution_keep_their_own_code(btplug, site, home):
    """They lie in one folder, and the same bytes are hashed for both."""
    other = site / "vendor" / "other"
    shutil.copytree(site / "vendor" / "inner", other)
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("name: it", "name: other"))
    listed = site / "vendor-1.0.dist-info"
    with (listed / "entry_points.txt").open("a") as file:
        file.write("other = vendor.other\n")
    with (listed / "RECORD").open("a") as file:
        file.writelines(f"vendor/other/{p.name},,\n" for p in other.iterdir())
    for name in ("it", "other"):
        accept(btplug, name)
    for name in ("it", "other"):
        assert btplug("run", name).stdout == "good\n"
    kept = {p: p.stat().st_mtime_ns for p in (home / "trust" / "code").iterdir()}
    assert len(kept) == 2

    for name in ("it", "other"):
        assert btplug("run", name).stdout == "good\n"

    assert {p: p.stat().st_mtime_ns for p in kept} == kept


@pytest.mark.parametrize("name", ["vendor/words.py", "vendor/data.bin", "vendor/inner/config.yaml"])  # fmt: skip
def test_an_upgraded_distribution_is_asked_about_again(name, btplug, site):
    accept(btplug, "it")
    (site / name).write_text((site / name).read_text() + "# more\n")

    done = btplug("run", "it")

    assert done.returncode == 6
    assert f"it has changed since it was trusted: changed {name}" in done.stderr


def test_caches_scripts_and_strangers_do_not_count(btplug, site, tmp_path):
    accept(btplug, "it")
    tag = sys.implementation.cache_tag
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "it").write_text("other")
    (site / "vendor-1.0.dist-info" / "INSTALLER").write_text("another")
    import py_compile

    evil = tmp_path / "evil.py"
    evil.write_text("WORD = 'evil'\n")
    py_compile.compile(
        str(evil), str(site / "vendor" / "__pycache__" / f"words.{tag}.pyc"), doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip

    assert btplug("run", "it").stdout == "good\n"


def test_a_module_that_was_never_installed_is_not_imported(btplug, site):
    accept(btplug, "it")
    (site / "vendor" / "words").mkdir()
    (site / "vendor" / "words" / "__init__.py").write_text("WORD = 'evil'\n")

    assert btplug("run", "it").stdout == "good\n"


@pytest.mark.parametrize("how", ["gone", "a link", "a folder"])
def test_a_file_that_is_none_any_more_is_named(how, btplug, site):
    accept(btplug, "it")
    path = site / "vendor" / "data.bin"
    path.unlink()
    if how == "a link":
        path.symlink_to("/etc/passwd")
    elif how == "a folder":
        path.mkdir()

    done = btplug("run", "it")

    assert done.returncode == 4
    assert f"where: {path}\n" in done.stderr
    assert "in the distribution, expected" in done.stderr


def test_compiled_modules_are_pinned_for_their_system(btplug, site):
    record = site / "vendor-1.0.dist-info" / "RECORD"
    (site / "vendor" / "fast.so").write_bytes(b"\x7fELF")
    record.write_text(record.read_text() + "vendor/fast.so,,\n")
    (site / "vendor-1.0.dist-info" / "WHEEL").write_text(
        "Tag: cp311-cp311-linux_x86_64\n"
    )
    accept(btplug, "it")
    btplug("lock")

    lock = Path(site.parent / "btplug.lock").read_text()
    assert " cp311-cp311-linux_x86_64\n" in lock
    assert "source: installed vendor 1.0\n" in lock
    assert btplug("--locked", "run", "it").stdout == "good\n"


# -- compiled ahead of a confined child


def nested(depth):
    """Return a few lines whose last ones are compiled 2 ** depth times."""
    lines = []
    for level in range(depth):
        lines += [" " * level + "try:", " " * level + " 0", " " * level + "finally:"]
    return "\n".join([*lines, " " * depth + "x = y", ""])


def compiled_ahead(folder, interrupted=0):
    """Return what it is to compile a plugin, in a process with one thread."""

    def interrupt(*_):
        raise KeyboardInterrupt

    def work():
        code = CodeCache(None, pin_accountable(spot_of(folder)))
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, interrupted)
        began, heard = time.monotonic(), False
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            code.compile_ahead()
        except KeyboardInterrupt:
            heard = True
        seconds = time.monotonic() - began
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return {
            "codes": {path: len(data) for path, data in code.codes.items()},
            "interrupted": heard,
            "seconds": seconds,
            "megabytes": grown // 1024,
            "children": open(f"/proc/self/task/{os.getpid()}/children").read(),
        }

    return aside(os.geteuid(), work)


def state_of(pid):
    """Return the letter that the system has for the state of a process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


DEEP = {
    "minus": "x = " + "-" * 100_000 + "1",
    "elif": "if 1: pass\n" + "elif 1: pass\n" * 9000,
    "null": "\0",
}


@pytest.mark.parametrize("name", DEEP)
def test_a_file_that_nothing_imports_may_be_one_that_cannot_be_compiled(
    name, btplug, make_plugin, home
):
    make_plugin("it", where=home / "cli_plugins", files={"other.py": DEEP[name]})
    accept(btplug, "it")

    done = btplug("run", "it")

    assert (done.returncode, done.stderr) == (0, "")


def test_what_takes_much_memory_to_compile_is_not_compiled_ahead(make_plugin, home):
    row = "[],\n"
    long = "LONG = [\n" + row * (256 * 1024 // len(row)) + "]\n"
    usual = "USUAL = [\n" + row * (250 * 1024 // len(row)) + "]\n"
    files = {"long.py": long, **{f"usual{n}.py": usual for n in range(9)}}
    folder = make_plugin("it", where=home / "cli_plugins", files=files)

    codes = compiled_ahead(folder)["codes"]

    assert codes["plugin.py"]
    assert "long.py" not in codes
    assert sum(name.startswith("usual") for name in codes) == 8


def test_a_file_that_takes_a_gigabyte_to_compile_takes_none_of_the_host(
    make_plugin, home, btplug
):
    files = {"bomb.py": nested(19), "zoo.py": ""}
    folder = make_plugin("it", where=home / "cli_plugins", files=files)

    found = compiled_ahead(folder)

    assert found["megabytes"] < 200
    assert {*found["codes"]} >= {"plugin.py"}
    assert not found["codes"].get("bomb.py")
    accept(btplug, "it")
    done = btplug("run", "it")
    assert (done.returncode, done.stderr) == (0, "")


def test_code_that_is_longer_than_any_is_not_taken(make_plugin, home):
    long = "".join(f"x=b'{n:06}'*600\n" for n in range(10_000))
    folder = make_plugin("it", where=home / "cli_plugins", files={"long.py": long})

    # Noted, so that it is not tried again with every run.
    assert compiled_ahead(folder)["codes"]["long.py"] == 0


def test_a_signal_is_heard_while_a_file_is_compiled(make_plugin, home):
    slow = 'f"' + "{0}" * 80_000 + '"\n'
    folder = make_plugin("it", where=home / "cli_plugins", files={"slow.py": slow})

    found = compiled_ahead(folder, interrupted=0.1)

    assert found["interrupted"]
    assert found["seconds"] < 2
    assert found["children"] == ""


COMPILE = """
from btplug._load.ahead import compiled
slow = b'f"' + b"{0}" * 40_000 + b'"'
long = b"".join(b"x=b'%06d'*600;" % n for n in range(1_000))
compiled([("slow", slow), ("long", long)])
"""


def test_nobody_compiles_on_for_a_host_that_was_killed():
    with subprocess.Popen([sys.executable, "-c", COMPILE]) as host:
        children = f"/proc/{host.pid}/task/{host.pid}/children"
        until = time.monotonic() + 20
        while not (helper := Path(children).read_text().strip()):
            assert time.monotonic() < until
            time.sleep(0.001)
        host.kill()

    while state_of(helper) not in "XZ":
        assert time.monotonic() < until, "it waits for a reader"
        time.sleep(0.01)


def test_what_cannot_be_compiled_is_tried_once(make_plugin, home):
    folder = make_plugin("it", where=home / "cli_plugins", files={"other.py": "("})

    assert compiled_ahead(folder)["codes"]["other.py"] == 0


def test_a_warning_of_the_compiler_steers_no_terminal(btplug, make_plugin, home):
    code = GOOD + "x = 1 is 1  # \x1b]0;EVIL\x07\n"
    files = {"words.py": "WORD = 'good'\n"}
    make_plugin("it", code, where=home / "cli_plugins", files=files)
    accept(btplug, "it")

    done = btplug("run", "it")

    assert (done.stdout, done.stderr) == ("good\n", "")


def test_what_is_not_compiled_ahead_is_imported_all_the_same(btplug, make_plugin, home):
    long = "WORD = 'long'\n" + "#" * 300_000 + "\n"
    make_plugin("it", GOOD, where=home / "cli_plugins", files={"words.py": long})
    accept(btplug, "it")

    assert btplug("run", "it").stdout == "long\n"

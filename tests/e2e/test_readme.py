"""The README is run as it stands there."""

import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import click
import pytest

from btplug.cli.app import BUILT_IN, root

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(
    not README.exists(), reason="the wheel is tested away from the README"
)
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.S | re.M)


def blocks(language):
    return [m for m in FENCE.finditer(README.read_text()) if m[1] == language]


@pytest.fixture
def tutorial(tmp_path):
    """Write every titled block of the README where its title says."""
    for block in FENCE.finditer(README.read_text()):
        if block[2]:
            path = tmp_path / block[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block[3])
    return tmp_path


def test_the_tutorial_prints_what_the_readme_shows(tutorial):
    shown = "".join(block[3] for block in blocks("console"))
    steps = re.split(r"^\$ (.*)\n", shown, flags=re.M)[1:]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command, expected in zip(steps[::2], steps[1::2], strict=True):
        done = subprocess.run(
            command, shell=True, cwd=tutorial, capture_output=True, text=True,
            env={**os.environ, "PATH": path, "COLUMNS": "80"}, timeout=30, check=False,
        )  # fmt: skip

        printed = done.stdout.replace(f"{tutorial}/", "")
        assert (done.returncode, printed, done.stderr) == (0, expected, ""), command


class Echo(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_the_python_examples_run_as_pasted(tmp_path, echo):
    scripts = [b[3] for b in blocks("python") if not b[2]]
    assert len(scripts) == 3
    outputs = []
    for script in scripts:
        done = subprocess.run(
            [sys.executable, "-c", script.replace(":8091", f":{echo}")],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        outputs.append(done.stdout)

    assert "18204.51" in outputs[0]
    assert outputs[1] == "200 hello\n"
    assert outputs[2] == "0 200\n1 refused\n"


def test_the_table_of_exit_codes_is_that_of_the_errors():
    from btplug import errors

    rows = re.findall(r"^\| ([\d, ]+) \|", README.read_text(), flags=re.M)
    listed = {int(code) for row in rows for code in row.split(", ")}
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    used = {c.exit_code for c in classes if issubclass(c, errors.BtplugError)}

    assert used <= listed
    assert listed == used | {0, 70, 129, 130, 143}


def commands_of(group):
    """Yield every built-in command with its words, those below others too."""
    context = click.Context(group)
    for name in BUILT_IN if group is root else group.list_commands(context):
        command = group.get_command(context, name)
        yield name, command
        if isinstance(command, click.Group) and name != "run":
            yield from ((f"{name} {sub}", c) for sub, c in commands_of(command))


def test_the_commands_that_have_json_are_those_that_the_readme_names():
    (sentence,) = re.findall(r"^`--json` works on (.*?):", README.read_text(), re.M)
    found = {
        name
        for name, command in commands_of(root)
        if any("--json" in option.opts for option in command.params)
    }

    assert {named.split(" --")[0] for named in re.findall("`(.*?)`", sentence)} == found

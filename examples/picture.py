"""Draw docs/screen.svg: what an operator sees, from real runs in a real terminal."""

from __future__ import annotations

import io
import os
import pty
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).with_name("btplug")
COLUMNS = "uid,name:Neuron,stake:Stake::right:_.2f,trust:Trust::right:.1%,axon.ip:IP"
SHOWN = (
    ("list",),
    ("run", "table-display", "neurons.json", "--columns", COLUMNS, "--sort", "-stake"),
    ("run", "tabel-display"),
)
WIDTH = 92


def on_terminal(*words: str) -> str:
    """Run btplug on a terminal of its own and return all it wrote, colours included."""
    ours, theirs = pty.openpty()
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "BTPLUG_HOME": home,
            "TERM": "xterm-256color",
            "COLUMNS": str(WIDTH),
        }
        process = subprocess.Popen(
            [str(COMMAND), *words],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=HERE, env=environment,
        )  # fmt: skip
        os.close(theirs)
        chunks = []
        try:
            while chunk := os.read(ours, 65536):
                chunks.append(chunk)
        except OSError:
            pass  # Linux says so when the last writer is gone.
        process.wait()
    os.close(ours)
    return b"".join(chunks).decode().replace("\r\n", "\n")


def main() -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for words in SHOWN:
        console.print(Text(f"$ btplug {shlex.join(words)}", style="bold green"))
        console.print(Text.from_ansi(on_terminal(*words)))
    target = HERE.parent / "docs" / "screen.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(console.export_svg(title="btplug"), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Run btplug's main jobs: a table from a file, a message to a server and back, a probe.

Servers are this script's own, on loopback, and stop with it.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import neurons

HERE = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).with_name("btplug")


class Echo(BaseHTTPRequestHandler):
    """Answers a POST with its body, a GET with a greeting."""

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._answer(self.rfile.read(length))

    def do_GET(self) -> None:
        self._answer(b'{"neuron": "up", "version": 1}\n')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the demo shows what the operator sees."""


def show(*words: str) -> None:
    """Print a command as it would be typed, then run it."""
    sys.stdout.write(f"\n$ btplug {shlex.join(words)}\n")
    sys.stdout.flush()
    subprocess.run([str(COMMAND), *words], check=True, cwd=HERE)


def main() -> None:
    show("list")
    columns = "uid,name:Neuron,stake::12:right:_.2f,trust:::right:.1%,axon.ip:IP"
    show(
        "run", "table-display", "neurons.json",
        "--columns", columns, "--where", "active = true", "--sort", "-stake",
    )  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/query"
    try:
        show("run", "send", url, "--data", '{"prompt": "are you there?"}')
        sys.stdout.write("\n")
        show("run", "fetch", url)
        show("run", "--json", "fetch", url)
    finally:
        server.shutdown()
        server.server_close()
    neurons.main()


if __name__ == "__main__":
    main()

import btplug
import click
import json
import os
import signal
import stat
import struct

LONG = "x" * 60_000
WORDS = {
    "log": {"level": 50, "message": LONG},
    "warning": {"warning": {"what": LONG, "where": LONG, "fix": LONG}},
}


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    @click.argument("what")
    def execute(self, data=None, *, what):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        body = json.dumps(WORDS[what]).encode()
        while True:
            send(struct.pack("!IBBI", len(body), 6, 0, 0) + body)

    def shutdown(self):
        pass


def send(data):
    for fd in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:
            continue

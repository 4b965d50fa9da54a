import btplug
import json
import os
import stat
import struct

EVIL = "\x1b]0;EVIL\x07\x1b[31mEVIL\x9b31mEVIL\u202eEVIL\rEVIL"
TABLES = [
    [[[EVIL, EVIL]], [False, True], True],
    [[[EVIL]], [False], False],
    [[["x"], ["y", "z"]], [True], True],
]


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        for table in TABLES:
            body = json.dumps({"table": table}).encode()
            send(struct.pack("!IBBI", len(body), 18, 0, 0) + body)
        return "fine"

    def shutdown(self):
        print("was shut down")


def send(data):
    for fd in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:
            continue

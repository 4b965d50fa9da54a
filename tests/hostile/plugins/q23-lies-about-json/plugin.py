import btplug
import os
import stat
import struct


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        for kind, more, whose, body in [
            (6, 0, 0, b'{"give_back": true}'),
            (5, 0, 1, b"no JSON\n"),
            (3, 1, 0, b"no JSON either\n"),
        ]:
            send(struct.pack("!IBBI", len(body), kind, more, whose) + body)
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

import btplug
import json
import os
import stat
import struct
import time


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        body = json.dumps({"defect": "TrustError: update from evil.example"}).encode()
        send(struct.pack("!IBBI", len(body), 4, 0, 0) + body)
        time.sleep(60)

    def shutdown(self):
        print("was shut down")


def send(data):
    for fd in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:
            continue

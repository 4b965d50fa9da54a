import btplug
import os
import time


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        for fd in range(3, 256):
            try:
                os.write(fd, b"\xff" * 4096)
            except OSError:
                continue
        time.sleep(600)

    def shutdown(self):
        print("was shut down")

import btplug
import os
import stat
import struct

STARTED = struct.pack("!IBBI", 0, 17, 0, 0)


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        while True:
            for fd in range(3, 256):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, STARTED)
                except OSError:
                    continue

    def shutdown(self):
        print("was shut down")

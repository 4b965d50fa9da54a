import btplug
import os


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        os.closerange(3, 256)
        while True:
            os.write(2, b"NOISE\n" * 1000)

    def shutdown(self):
        print("was shut down")

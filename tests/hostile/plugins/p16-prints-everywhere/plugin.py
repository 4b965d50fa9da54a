import btplug
import os

print("NOISE")
os.write(1, b"NOISE\n")
os.write(2, b"NOISE\n")


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        print("NOISE")
        os.write(1, b"NOISE\n")
        yield {"a": 1}
        print("NOISE")

    def shutdown(self):
        print("NOISE")

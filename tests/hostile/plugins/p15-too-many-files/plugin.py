import btplug
import os


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        held = [open(os.devnull) for _ in range(10_000)]
        return len(held)

    def shutdown(self):
        print("was shut down")

import btplug
import sys


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        sys.exit("so long")

    def shutdown(self):
        print("was shut down")

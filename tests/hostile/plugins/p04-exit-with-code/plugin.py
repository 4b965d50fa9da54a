import btplug
import sys


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        sys.exit(3)

    def shutdown(self):
        print("was shut down")

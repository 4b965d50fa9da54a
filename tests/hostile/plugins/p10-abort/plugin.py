import btplug
import os


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        os.abort()

    def shutdown(self):
        print("was shut down")

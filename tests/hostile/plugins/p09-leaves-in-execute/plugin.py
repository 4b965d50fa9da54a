import btplug
import os


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        os._exit(0)

    def shutdown(self):
        print("was shut down")

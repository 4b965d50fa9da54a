import btplug
import atexit
import time

atexit.register(time.sleep, 600)


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        return "fine"

    def shutdown(self):
        print("was shut down")

import btplug
import os
import signal


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        os.kill(os.getppid(), signal.SIGKILL)

    def shutdown(self):
        print("was shut down")

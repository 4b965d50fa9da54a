import btplug
import ctypes


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        ctypes.string_at(0)

    def shutdown(self):
        print("was shut down")

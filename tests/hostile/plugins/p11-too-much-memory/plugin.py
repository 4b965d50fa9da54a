import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        return len(bytearray(50 * 1024**3))

    def shutdown(self):
        print("was shut down")

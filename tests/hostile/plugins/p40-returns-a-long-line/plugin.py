import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        return "x" * (80 * 1024**2)

    def shutdown(self):
        print("was shut down")

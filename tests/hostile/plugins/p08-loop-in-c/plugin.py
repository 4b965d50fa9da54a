import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        return sum(range(10**12))

    def shutdown(self):
        print("was shut down")

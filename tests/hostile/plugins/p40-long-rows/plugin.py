import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        yield {"a": "x" * 2**21}
        yield {"a": "y"}

    def shutdown(self):
        print("was shut down")

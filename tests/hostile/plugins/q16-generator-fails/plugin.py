import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        yield {"a": 1}
        raise ValueError("later")

    def shutdown(self):
        print("was shut down")

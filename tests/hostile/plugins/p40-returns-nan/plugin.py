import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        return {"a": [1, float("nan")]}

    def shutdown(self):
        print("was shut down")

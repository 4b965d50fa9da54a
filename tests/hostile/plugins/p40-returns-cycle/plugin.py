import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        value = {}
        value["a"] = value
        return value

    def shutdown(self):
        print("was shut down")

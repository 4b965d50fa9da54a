import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        return "well"

    def shutdown(self):
        pass

import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        while True:
            yield {"n": "x" * 999}

    def shutdown(self):
        pass

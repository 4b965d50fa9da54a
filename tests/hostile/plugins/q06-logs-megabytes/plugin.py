import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        self.context.logger.error("x" * 2**22)
        return "fine"

    def shutdown(self):
        print("was shut down")

import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        held = []
        while True:
            held.append(bytearray(2**28))

    def shutdown(self):
        print("was shut down")

import btplug


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        with open("/dev/shm/btplug-evil", "wb") as file:
            file.write(b"x")

    def shutdown(self):
        print("was shut down")

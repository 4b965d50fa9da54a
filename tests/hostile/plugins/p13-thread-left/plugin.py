import btplug
import threading
import time


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        threading.Thread(target=time.sleep, args=(600,), name="lingerer").start()
        return "fine"

    def shutdown(self):
        print("was shut down")

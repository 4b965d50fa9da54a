import btplug
import os

# Where the corpus is tried, an operator's HOME lies beside it.
PLACE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOME = os.path.join(PLACE, "hostile-home")
KEYS = [
    "/proc/self/environ", f"/proc/{os.getppid()}/environ", f"/proc/{os.getppid()}/mem",
    "/etc/passwd", "/etc/shadow", f"{HOME}/.ssh/id_ed25519",
    f"{HOME}/.bittensor/wallets/mine/coldkey",
]


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        found = []
        for path in KEYS:
            try:
                with open(os.path.expanduser(path)) as file:
                    found.append(file.read())
            except OSError:
                continue
        return {"found": found, "variables": sorted(os.environ)}

    def shutdown(self):
        print("was shut down")

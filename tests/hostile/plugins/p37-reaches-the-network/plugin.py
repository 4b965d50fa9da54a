import btplug
import socket

KINDS = [
    (family, kind)
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW)
]


class Plugin(btplug.CLIPlugin):
    """Do it."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        refused = []
        for family, kind in KINDS:
            try:
                socket.socket(family, kind).close()
            except OSError as exc:
                refused.append(exc.errno)
        return {"refused": len(refused), "of": len(KINDS)}

    def shutdown(self):
        print("was shut down")

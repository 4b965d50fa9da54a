"""Both ends of a lent transport in one process, over a real channel."""

import os
import select
import socket
import threading
from contextlib import contextmanager

from btplug._broker.broker import Broker
from btplug._broker.hosts import Hosts
from btplug._broker.line import Line
from btplug._broker.proxies import Proxy
from btplug._confine.frames import BadFrame, Channel, Port


class Lent:
    """A broker with a thread that does what the host of a child does.

    Attributes:
        channel: The child's end.
        error: What the broker refused.
    """

    def __init__(self, transports, home, rules=("any",)):
        ours, self._theirs = socket.socketpair()
        ours.setblocking(False)
        self._ours, self._wake = ours, os.eventfd(0)
        self.port = Port(ours.fileno(), lambda: os.eventfd_write(self._wake, 1))
        self.broker = Broker(transports, Hosts(rules), self.port.post, home)
        self.channel, self.error = Channel(self._theirs.fileno()), None
        self._stopped, self.lines = False, []
        self._thread = threading.Thread(target=self._run, name="lent")
        self._thread.start()

    def line(self):
        self.lines.append(Line(self.channel))
        return self.lines[-1]

    def _run(self):
        hears = True
        while hears and not self._stopped:
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            events = 0 if self.port.full else select.POLLIN
            poll.register(self._ours, events | (self.port.waiting and select.POLLOUT))
            for fd, event in poll.poll():
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                self.port.flush()
                if event & ~select.POLLOUT:
                    try:
                        found = self.port.take()
                        hears = found is not None
                        for frame in found or ():
                            self.broker.take(frame)
                    except BadFrame as exc:
                        self.error, hears = exc, False
                        self._ours.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._stopped = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self.broker.close()
        self.port.close()
        self._theirs.shutdown(socket.SHUT_RDWR)
        for line in self.lines:
            if line._heard:
                line._thread.join()
        self._ours.close()
        self._theirs.close()
        os.close(self._wake)


@contextmanager
def lent(transport, rules=("any",), name="http"):
    """Lend one transport; yield its proxy, which has the broker as ``lent``."""
    both = Lent({name: transport}, transport.context.home, rules)
    proxy = Proxy(name, transport.schemes, both.line())
    proxy.context, proxy.lent = transport.context, both
    try:
        yield proxy
    finally:
        both.close()

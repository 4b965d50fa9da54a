"""Every way to ask a peer, called alike: what one survives the others must survive."""

from __future__ import annotations

from dataclasses import replace

from btplug import Message, Peer

WAYS = ("send", "asend", "send_many", "stream", "astream")
STREAMS = ("stream", "astream")


def ask(transport, way, url, body=b"", *, timeout=None, **message):
    """Send and return the whole reply; what went wrong is raised."""
    peer = url if isinstance(url, Peer) else Peer(url)
    sent = Message(body=body, **message)
    home = transport.context.home
    if way == "send":
        return transport.send(peer, sent, timeout=timeout)
    if way == "asend":
        return home.run(transport.asend(peer, sent, timeout=timeout))
    if way == "send_many":
        (outcome,) = transport.send_many([peer], sent, timeout=timeout)
        return outcome.unwrap()
    if way == "stream":
        with transport.stream(peer, sent, timeout=timeout) as stream:
            return replace(stream.head, body=b"".join(stream))
    return home.run(_astreamed(transport, peer, sent, timeout))


async def _astreamed(transport, peer, sent, timeout):
    async with transport.astream(peer, sent, timeout=timeout) as stream:
        return replace(stream.head, body=b"".join([part async for part in stream]))

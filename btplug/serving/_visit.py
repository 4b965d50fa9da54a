"""What one request holds, and what ends it."""

from __future__ import annotations

import asyncio


class Visit:
    """What a request holds, until it is over.

    Attributes:
        sender: Under what its bodies are counted; "": nobody knows.
        address: Under what it was let in, or "".
        hotkey: The verified one under which it was let in, or "".
        read: Its whole body was read.
        gone: Nobody waits for its answer.
        size: Bytes of its body.
    """

    __slots__ = ("address", "gone", "hotkey", "read", "sender", "size")

    def __init__(self, sender: str) -> None:
        self.sender, self.address, self.hotkey = sender, "", ""
        self.read, self.gone, self.size = False, False, 0

    def ended_by(self, exc: BaseException, *, stopping: bool) -> bool:
        """Tell whether *exc* comes from us, and not from the handler.

        Args:
            stopping: The application is.
        """
        if isinstance(exc, asyncio.CancelledError):
            return self.gone or stopping
        # Or its loop has ended, and nobody runs it any more.
        return isinstance(exc, GeneratorExit) and not _runs()


def _runs() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False

"""Text made of blocks of ``key: words``, for files that btplug alone writes.

The first line says what the file is. Blocks are separated by empty lines, words by
one blank; what is no printable character, a blank or ``%`` stands as ``%20``, a word
without characters as ``%``. Lines that begin with ``#`` are for people.
"""

from __future__ import annotations

from typing import NoReturn

Words = tuple[str, ...]
Block = dict[str, list[Words]]


class BadBlocks(ValueError):
    """Text that was not written by `write`; the message begins with its line."""


def write(head: str, blocks: list[Block], *, comment: str = "") -> str:
    """Return the text of *blocks*; a key may stand in one several times."""
    first = f"# {comment}\n{head}\n" if comment else f"{head}\n"
    return first + "".join(
        "\n"
        + "".join(
            f"{key}:{''.join(f' {escape(word)}' for word in words)}\n"
            for key, lines in block.items()
            for words in lines
        )
        for block in blocks
    )


def read(text: str, head: str, keys: frozenset[str]) -> list[Block]:
    """Return the blocks of *text*.

    Args:
        head: The line that it has to begin with.
        keys: All that a block may have.

    Raises:
        BadBlocks: It is something else.
    """
    blocks: list[Block] = []
    current: Block = {}
    begun = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#"):
            continue
        if not begun:
            if line != head:
                _fail(number, line, repr(head))
            begun = True
        elif not line:
            if current:
                blocks.append(current)
            current = {}
        else:
            key, colon, rest = line.partition(":")
            if not colon or key not in keys or (rest and rest[0] != " "):
                _fail(number, line, f"one of {', '.join(sorted(keys))} and a colon")
            words = rest[1:].split(" ") if rest else []
            if "%" in rest or "" in words:
                try:
                    words = [_unescape(word) for word in words]
                except ValueError:
                    _fail(number, line, "words as btplug writes them")
            current.setdefault(key, []).append(tuple(words))
    if not begun:
        _fail(1, "", repr(head))
    return [*blocks, current] if current else blocks


def one(block: Block, key: str) -> Words:
    """Return the words of a key that stands in a block once.

    Raises:
        BadBlocks: It stands there more often, or not at all.
    """
    found = block.get(key, [])
    if len(found) != 1:
        raise BadBlocks(f"found {len(found)} lines {key!r} in a block, expected one")
    return found[0]


def word(block: Block, key: str) -> str:
    """Return the one word of a key that stands in a block once.

    Raises:
        BadBlocks: There are more or less of either.
    """
    words = one(block, key)
    if len(words) != 1:
        raise BadBlocks(f"{key}: found {len(words)} words, expected one")
    return words[0]


def _fail(number: int, line: str, expected: str) -> NoReturn:
    raise BadBlocks(f"line {number}: found {line[:60]!r}, expected {expected}")


def escape(word: str) -> str:
    """Return a word as it stands in the text."""
    if not word:
        return "%"
    if word.isascii() and word.isprintable() and not set(word) & {" ", "%"}:
        return word
    return "".join(
        char
        if char.isprintable() and char not in " %"
        else "".join(f"%{b:02x}" for b in char.encode("utf-8", "surrogateescape"))
        for char in word
    )


def _unescape(word: str) -> str:
    if not word:
        raise ValueError(word)
    if word == "%":
        return ""
    first, *rest = word.encode("utf-8").split(b"%")
    if any(len(part) < 2 for part in rest):
        raise ValueError(word)
    found = first + b"".join(bytes.fromhex(p[:2].decode()) + p[2:] for p in rest)
    return found.decode("utf-8", "surrogateescape")

"""Names that may hold anything, as text that a terminal or a table shows and never obeys."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, delete and C1: escape codes, newlines, tabs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the direction of text
    "\u2028\u2029\ud800-\udfff]"  # separators of lines and paragraphs; halves of characters
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_FORMULA = ("=", "+", "-", "@")


def printable(name: object, *, keep: str = "") -> str:
    r"""The text of `name` with control characters escaped: ``\x1b``, ``\n``, ``\u202e``.

    A byte of a file name that is no UTF-8 becomes ``\xff``. Other characters stay as they are, a backslash and those of
    `keep` included.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), str(name))


def spreadsheet_cell(name: object, *, keep: str = "") -> str:
    """`printable`, and with an apostrophe before it where a spreadsheet would take it for a formula (=, +, -, @)."""
    text = printable(name, keep=keep)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that it could not decode, see `surrogateescape`
        code -= 0xDC00
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")

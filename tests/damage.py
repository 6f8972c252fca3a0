"""What may happen to a file on its way: bytes that change, get lost, double or trade places."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_LONGEST = 48  # bytes that change places, are lost or overwritten at once


@st.composite
def damaged(draw: st.DrawFn, content: bytes, tail: int = 0) -> bytes:
    """`content` after one to three accidents.

    Args:
        content: of a file.
        tail: bytes at its end in which half of the accidents happen.
    """
    for _ in range(draw(st.integers(1, 3))):
        content = draw(st.sampled_from(_ACCIDENTS))(draw, content or b"\0", tail)
    return content


def _place(draw: st.DrawFn, content: bytes, tail: int) -> int:
    in_tail = tail and draw(st.booleans())
    return draw(st.integers(max(0, len(content) - tail) if in_tail else 0, len(content) - 1))


def _flip_a_bit(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    at = _place(draw, content, tail)
    return content[:at] + bytes([content[at] ^ (1 << draw(st.integers(0, 7)))]) + content[at + 1 :]


def _change_a_byte(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    at = _place(draw, content, tail)
    return content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]


def _write_a_number(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    at, size = _place(draw, content, tail), draw(st.sampled_from((2, 4)))
    number: bytes = (draw(st.sampled_from(_NUMBERS)) % 256**size).to_bytes(size, "little")
    return content[:at] + (number if draw(st.booleans()) else number[::-1]) + content[at + size :]


def _truncate(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    return content[: _place(draw, content, tail)]


def _lose_a_part(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    at = _place(draw, content, tail)
    return content[:at] + content[at + draw(st.integers(1, _LONGEST)) :]


def _insert(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    at = _place(draw, content, tail)
    return content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at:]


def _double_a_part(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    start, at = _place(draw, content, tail), _place(draw, content, tail)
    return content[:at] + content[start : start + draw(st.integers(1, len(content)))] + content[at:]


def _overwrite_a_part(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    start, at = _place(draw, content, tail), _place(draw, content, tail)
    part = content[start : start + draw(st.integers(1, _LONGEST))]
    return content[:at] + part + content[at + len(part) :]


def _swap_two_parts(draw: st.DrawFn, content: bytes, tail: int) -> bytes:
    first, second = sorted((_place(draw, content, tail), _place(draw, content, tail)))
    size = min(draw(st.integers(1, _LONGEST)), second - first)
    swapped = content[second : second + size] + content[first + size : second] + content[first : first + size]
    return content[:first] + swapped + content[second + size :]


_ACCIDENTS: tuple[Callable[[st.DrawFn, bytes, int], bytes], ...] = (
    *(_flip_a_bit, _change_a_byte, _write_a_number, _truncate, _lose_a_part),
    *(_insert, _double_a_part, _overwrite_a_part, _swap_two_parts),
)

"""Bytes of input files, gzipped or not, and numbers written as text."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import numpy as np

from multicopy_refinement._typing import FloatArray, IntArray
from multicopy_refinement.errors import InputError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(\(\d+\))?")


def read_bytes(path: str | Path, error: type[InputError]) -> bytes:
    """Return the content of a file, unpacked when it is gzipped, whatever its name."""
    try:
        content = Path(path).read_bytes()
    except IsADirectoryError:
        raise error(f"{path}: is a directory, not a file") from None
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except OSError as fault:
        raise error(f"{path}: cannot be read: {fault.strerror}") from None
    if content[:2] == b"\x1f\x8b":
        try:
            return gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as fault:
            raise error(f"{path}: damaged gzip file: {fault}") from None
    return content


def one_line(fault: Exception) -> str:
    """Return what a library says of a fault, without its line breaks."""
    return " ".join(str(fault).split())


def parse_number(text: str) -> float | None:
    """Return a number, its uncertainty in brackets left out, or None where there is none.

    >>> parse_number("0.70(2)"), parse_number("****"), parse_number("nan")
    (0.7, None, None)
    """
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return float(text.split("(")[0])


def fixed_columns(
    buffer: np.ndarray, start: IntArray, end: IntArray, first: int, last: int
) -> np.ndarray:
    """Return columns first..last (0-based, half-open) of lines as ``S`` strings, blank-padded."""
    width = last - first
    word = 1 << (width - 1).bit_length()  # of 1, 2, 4 or 8 bytes: numpy picks them fastest
    if word > 8 or word > last or word > len(buffer):
        return _padded_columns(buffer, start, end, first, last)
    short = np.flatnonzero(end - start < last)
    inside = start + (last - word)
    inside[short] = 0
    # a word begins at every byte: picking is one gather, without index tables
    windows = np.ndarray((len(buffer) - word + 1,), f"u{word}", buffer, strides=(1,))
    letters = windows[inside].view(np.uint8).reshape(len(start), word)
    columns = np.ascontiguousarray(letters[:, word - width :]).view(f"S{width}")[:, 0]
    if len(short):
        columns[short] = _padded_columns(buffer, start[short], end[short], first, last)
    return columns


def _padded_columns(
    buffer: np.ndarray, start: IntArray, end: IntArray, first: int, last: int
) -> np.ndarray:
    """Return what `fixed_columns` does, of lines that may be shorter."""
    place = start[:, None] + np.arange(first, last)
    inside = place < end[:, None]
    columns = np.where(inside, buffer[np.minimum(place, len(buffer) - 1)], np.uint8(32))
    return np.ascontiguousarray(columns).view(f"S{last - first}")[:, 0]


def integers(texts: np.ndarray) -> IntArray | None:
    """Return right-justified decimal ``S`` strings as integers, or None where one is not.

    >>> integers(np.array([b"   12", b" 1034"])).tolist()
    [12, 1034]
    """
    letters = texts.view(np.uint8).reshape(len(texts), -1)
    digits = np.where(letters == ord(" "), ord("0"), letters) - np.uint8(48)
    if (digits > 9).any() or (letters[:, -1] == ord(" ")).any():
        return None
    value = np.zeros(len(texts), dtype=np.int64)
    for column in digits.T:
        value = 10 * value + column
    return value


def parse_unique(texts: np.ndarray) -> FloatArray:
    """Return texts as numbers (nan where one is none) by looking at each distinct one once."""
    short = texts.dtype.kind == "S" and texts.dtype.itemsize <= 8
    keys = texts.astype("S8").view(np.int64) if short else texts  # integers are told apart faster
    if len(keys) == 0:
        return np.empty(0)
    change = np.concatenate([[True], keys[1:] != keys[:-1]])  # most follow one like themselves
    unique, code = np.unique(keys[change], return_inverse=True)
    unique = unique.view("S8") if short else unique
    values = [parse_number(_as_text(t)) for t in unique.tolist()]
    numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return np.asarray(numbers[code][np.cumsum(change) - 1])


def _as_text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value

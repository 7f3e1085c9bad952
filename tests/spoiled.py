"""Ways in which files are spoiled: cut, mixed, edited by hand, written by other programs."""

import random

#: What stands in files of bad days in place of a word.
WORDS = (
    b"nan", b"inf", b"-inf", b"1e400", b"-1e400", b"1e-400", b"-1", b"0", b"1", b"2",
    b"99999999999", b"-99999999999", b"?", b".", b"", b"*", b"****", b"NULL", b"0x10", b"1,5",
    b"1.2.3", b"\xff\xfe", b"\xc3\xa9", b"'", b'"', b";", b"#", b"[", b"]", b"{", b"}", b"$",
    b"\\", b"\x00", b"%s", b"{0}", b"../../etc", b"A" * 3000, b"loop_", b"data_", b"save_",
    b"MODEL", b"ENDMDL", b"END", b"TER", b"HETATM", b"ANISOU", b"CRYST1", b"-0.0", b"1e308",
    b"True", b"null",
)  # fmt: skip


def spoiled(content: bytes, seed: int) -> bytes:
    """Return a content after one to six accidents."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        content = chance.choice(_ACCIDENTS)(content, chance)
    return content


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _lost_part(content: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(content) + 1)
    return content[:begin] + content[begin + chance.choice((1, 3, 20, 500)) :]


def _bytes(content: bytes, chance: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(chance.choice((1, 4, 40))):
        if found:
            found[chance.randrange(len(found))] = chance.randrange(256)
    return bytes(found)


def _header_bytes(content: bytes, chance: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(chance.choice((1, 3))):
        if found:
            found[chance.randrange(min(len(found), 120))] = chance.randrange(256)
    return bytes(found)


def _line(change):
    def accident(content: bytes, chance: random.Random) -> bytes:
        lines = content.split(b"\n")
        for _ in range(chance.choice((1, 1, 5))):
            if not lines:
                break
            i = chance.randrange(len(lines))
            lines[i : i + 1] = change(lines[i], lines, chance)
        return b"\n".join(lines)

    return accident


def _other_word(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    words = line.split(b" ")
    words[chance.randrange(len(words))] = chance.choice(WORDS)
    return [b" ".join(words)]


def _same_width(line: bytes, lines: list[bytes], chance: random.Random) -> list[bytes]:
    begin = chance.randrange(len(line) + 1)
    word = chance.choice(WORDS)[:8]
    return [line[:begin] + word + line[begin + len(word) :]]


def _new_ends(content: bytes, chance: random.Random) -> bytes:
    return content.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b" \n", b"\t\n")))


def _marked(content: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"\xef\xbb\xbf", b"\x1f\x8b\x08", b"\xff\xfe", b"\n\n", b" ")) + content


_ACCIDENTS = (
    _cut, _lost_part, _bytes, _header_bytes, _new_ends, _marked,
    _line(_other_word), _line(_other_word), _line(_same_width), _line(_same_width),
    _line(lambda line, lines, chance: []),
    _line(lambda line, lines, chance: [line] * chance.choice((2, 2, 30))),
    _line(lambda line, lines, chance: [line[: chance.randrange(len(line) + 1)]]),
    _line(lambda line, lines, chance: [line, chance.choice(lines)]),
    _line(lambda line, lines, chance: [line.swapcase()]),
    lambda content, chance: content + content,
    lambda content, chance: b"",
)  # fmt: skip

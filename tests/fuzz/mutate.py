"""Seeded damage to the bytes of a file: from one flipped bit to a header that promises the moon."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from tests.fuzz.structure import Field, fields

SIDES = (0, 1, 2, 15, 16, 4096, 8192, 16384, 65535, 100_000, 2**31 - 1, 2**32 - 1)

Mutation = Callable[[bytearray, random.Random, str, Sequence[bytes]], bytearray]


def mutate(data: bytes, seed: str, family: str, others: Sequence[bytes]) -> tuple[str, bytes]:
    """(name of the damage, the damaged file); `others` are files to splice with. The same seed, the same bytes."""
    draw = random.Random(seed)
    names = [draw.choice(list(MUTATIONS)) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
    out = bytearray(data)
    for name in names:
        out = MUTATIONS[name](out, draw, family, others) or out
    return " + ".join(names), bytes(out)


def _flip_bits(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    for _ in range(draw.choice((1, 1, 4, 30, 200))):
        at = draw.randrange(len(data))
        data[at] ^= 1 << draw.randrange(8)
    return data


def _garble_header(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    for _ in range(draw.randint(1, 24)):
        data[draw.randrange(min(len(data), 2048))] = draw.randrange(256)
    return data


def _truncate(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    return data[: draw.randrange(1, len(data))]


def _header_only(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    return data[: draw.randrange(1, min(len(data), 1500))]


def _zero_fill(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    start, stop = _stretch(data, draw)
    data[start:stop] = bytes(stop - start)
    return data


def _swap_chunks(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    size = draw.randint(1, max(1, len(data) // 3))
    a, b = (draw.randrange(max(1, len(data) - size)) for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def _repeat_chunk(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    start, stop = _stretch(data, draw)
    return data[:stop] + data[start:stop] * draw.choice((1, 2, 50)) + data[stop:]


def _remove_chunk(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    start, stop = _stretch(data, draw)
    return data[:start] + data[stop:] or data


def _insert_noise(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    at = draw.randrange(len(data))
    return data[:at] + draw.randbytes(draw.choice((1, 3, 188, 4096))) + data[at:]


def _splice(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
    other = draw.choice(others)
    return data[: draw.randrange(1, len(data))] + other[draw.randrange(len(other)) :]


def _lie(what: str) -> Mutation:
    def lie(data: bytearray, draw: random.Random, family: str, others: Sequence[bytes]) -> bytearray:
        known = fields(bytes(data), family)
        wanted = [f for f in known if f.what == what] or known
        for place in draw.sample(wanted, min(len(wanted), draw.choice((1, 1, 2, 6)))):
            _write(data, place, draw)
        return data

    return lie


MUTATIONS: Mapping[str, Mutation] = {
    "flipped bits": _flip_bits,
    "garbled header": _garble_header,
    "cut short": _truncate,
    "header only": _header_only,
    "zero fill": _zero_fill,
    "swapped chunks": _swap_chunks,
    "repeated chunk": _repeat_chunk,
    "missing chunk": _remove_chunk,
    "noise put in": _insert_noise,
    "spliced files": _splice,
    "length lie": _lie("length"),
    "size lie": _lie("size"),
    "count lie": _lie("count"),
}


def _write(data: bytearray, field: Field, draw: random.Random) -> None:
    most = (1 << 8 * field.bytes) - 1
    if field.what == "size":
        value = draw.choice(SIDES)
    else:
        was = int.from_bytes(data[field.at : field.at + field.bytes], field.order)
        value = draw.choice(
            (0, 1, most, most >> 1, (most >> 1) + 1, was + 1, max(0, was - 1), 2 * was, draw.randint(0, most))
        )
    data[field.at : field.at + field.bytes] = min(value, most).to_bytes(field.bytes, field.order)


def _stretch(data: bytearray, draw: random.Random) -> tuple[int, int]:
    start = draw.randrange(len(data))
    return start, min(len(data), start + draw.choice((1, 8, 188, 1024, len(data))))

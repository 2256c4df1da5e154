"""The number of fields that tables take, by formula: the oracle of `models.tables`, which lists them. No pytest."""

from models.tables import reach


def pairs_count(n: int, w: int) -> int:
    """How many fields blending a shot of `n` frames by tables takes (deflicker.md 2.5), without listing one of them.

    Frame t reads [a, b) on either side: the aligned blocks that [a, b) falls into. The first one, of s frames,
    is its own entry and takes s - 1 fields; no frame ever needs a larger one there, so entries of fewer
    frames come free. Each further block takes one field, and that pair is in no entry. O(n).
    """
    total = 0
    for t in range(n):
        first, last = reach(t, w, n)
        for a, b, edge in ((first, t + 1, t + 1), (t, last + 1, t)):
            longest = 1 << ((b - a).bit_length() - 1)
            own = min(edge & -edge, longest) if edge else longest
            total += own - 1 + _blocks(a, b) - 1
    return total


def _blocks(a: int, b: int) -> int:
    """Number of aligned blocks of 2**k numbers that [a, b) falls into, each as large as possible.

    They grow towards the number in a .. b that the highest power of two divides, and shrink beyond it: one
    block for each bit set in the way from there to either end.
    """
    top = 0
    if a > 0:
        shift = ((a - 1) ^ b).bit_length() - 1
        top = b >> shift << shift
    return (b - top).bit_count() + (top - a).bit_count()

"""The counter-based random numbers of brigade/core/random.hpp, so that both sides draw the same values."""
import numpy as np

INITIAL_WEIGHTS, DROPOUT, SYNTHETIC_DATA = 1, 3, 7  # brigade::Purpose
LOW = np.uint64(0xFFFFFFFF)


def philox4x32(counter, key):
    """Philox4x32-10 (Salmon et al., SC'11) on arrays of uint32 words held as uint64."""
    c, (k0, k1), high = list(counter), key, np.uint64(32)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> high) ^ c[1] ^ np.uint64(k0), p1 & LOW, (p0 >> high) ^ c[3] ^ np.uint64(k1), p0 & LOW]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


# Known answer (Random123, kat_vectors): all bits of counter and key set.
_answer = philox4x32([np.array([0xFFFFFFFF], dtype=np.uint64)] * 4, (0xFFFFFFFF, 0xFFFFFFFF))
assert [int(word[0]) for word in _answer] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def draws(n, purpose, stream=0, position=0, seed=1, piece=1 << 16):
    """The first n draws of a stream, as brigade::random_u32 numbers them; in pieces that stay in a cache."""
    key = (seed & 0xFFFFFFFF, (seed >> 32) ^ (purpose << 24))
    blocks, values = (n + 3) // 4, np.empty(((n + 3) // 4, 4), dtype=np.uint32)
    for first in range(0, blocks, piece):
        block = np.arange(first, min(first + piece, blocks), dtype=np.uint64)
        counter = [block & LOW, (block >> np.uint64(32)) ^ np.uint64(purpose << 24), np.full_like(block, stream),
                   np.full_like(block, position)]
        for word, drawn in enumerate(philox4x32(counter, key)):
            values[first:first + piece, word] = drawn
    return values.reshape(-1)[:n]


def uniform(bits):
    """[0, 1) in float32."""
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)

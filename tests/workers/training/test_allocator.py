"""Pages are counted, never seconds."""

import multiprocessing
import platform
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from workers.training.allocator import keeping_freed_memory

BYTES = 64 << 20
PAGES = BYTES // resource.getpagesize()

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


def use_memory() -> int:
    """Allocate, write and free some blocks, and return how many pages the kernel had to hand out."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.full(BYTES, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])


def keep_and_give_back() -> tuple[int, int, int, int]:
    """Return the pages handed out again, and those resident within the block, after it, and after further use."""
    with keeping_freed_memory():
        use_memory()
        again = use_memory()
        kept = resident_pages()
    after = resident_pages()
    use_memory()
    return again, kept, after, resident_pages()


def test_what_is_freed_serves_again_and_is_given_back_at_the_end() -> None:
    fresh = multiprocessing.get_context("spawn")  # the pages of a process that has run other tests come and go

    with ProcessPoolExecutor(1, mp_context=fresh) as process:
        again, kept, after, then = process.submit(keep_and_give_back).result()

    assert again < PAGES / 4
    assert after < kept - 0.9 * PAGES
    assert then < kept - 0.9 * PAGES, "freed memory is given back at once again"


def test_memory_is_given_back_when_the_block_fails() -> None:
    def fail() -> None:
        with keeping_freed_memory():
            use_memory()
            raise RuntimeError("a step failed")

    before = resident_pages()
    with pytest.raises(RuntimeError, match="a step failed"):
        fail()

    assert resident_pages() < before + PAGES / 2

"""Check of a pax extended header (POSIX.1-2001) before tarfile reads it, which takes quadratic time for some.

A record is `LENGTH KEY=VALUE` and a line feed, its length in bytes and in decimal. tarfile looks for the `=` beyond the
record's end, keeps a key for each record, and compares runs of digits with all their ends.
"""

import re

from models_store.wording import counted

MOST_RECORDS = 1000
MOST_DIGITS = 512  # in a row: a file's name has 255 bytes
LENGTH = re.compile(rb"(\d{1,20}) ")
DIGITS = re.compile(rb"\d+")


def fault(header: bytes) -> str | None:
    """Return what is wrong with a header's bytes, or None; zeros at its end are no part of it."""
    if max(map(len, DIGITS.findall(header)), default=0) > MOST_DIGITS:
        return f"has more than {MOST_DIGITS} digits in a row"
    at, count = 0, 0
    while match := LENGTH.match(header, at):
        end = at + int(match[1])
        if end <= match.end() or end > len(header) or header[end - 1 : end] != b"\n":
            return f"has a record of {counted(int(match[1]), 'byte')} that does not end there"
        if header.find(b"=", match.end(), end) <= match.end():
            return "has a record without a key"
        at, count = end, count + 1
        if count > MOST_RECORDS:
            return f"has more than {MOST_RECORDS} records"
    return "has bytes behind its records" if header[at:].strip(b"\0") else None

"""End of the last line of a text's file: editors write it, and it is no part of the text."""


def without_last_end(data: bytes) -> bytes:
    r"""Return a file's bytes without one `\n` or `\r\n` at their end."""
    return data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data

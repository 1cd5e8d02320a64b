"""Tables of texts."""


def lines(*rows: str, header: str = "text,label", end: str = "\n") -> bytes:
    """Return a table in UTF-8."""
    return end.join([header, *rows, ""]).encode()


def rows_of(*classes: str, count: int = 10) -> list[str]:
    """Return rows of different texts, some of each class."""
    return [f"{_word(at)} {_word(7 * at + 3)} number {at} of {name},{name}" for name in classes for at in range(count)]


def _word(number: int) -> str:
    return "".join(chr(ord("a") + (number * step + step) % 26) for step in (3, 5, 7, 11, 13))

"""Plans that are cheaper than a training of texts: shorter texts take less time, and most of what they say is kept."""

from collections.abc import Iterator

from models_store.spec.recipe import Document

SHORTER = (0.75, 0.5, 0.25)
FEWEST = 32
"""tokens below which no plan goes"""


def plans(document: Document) -> Iterator[Document]:
    """Yield resolved specs that are cheaper than one, the best first."""
    if "input.max_tokens" not in document["training"]["fit_to_budget"]:
        return
    for share in SHORTER:
        tokens = int(document["input"]["max_tokens"] * share)
        if tokens >= FEWEST:
            yield document | {"input": document["input"] | {"max_tokens": tokens}}


def giga_macs(backbone: Document, tokens: int) -> float:
    """Return the multiplications of a resolved backbone for a text of so many tokens, in billions; 0 where unknown."""
    kind, width = backbone["kind"], backbone.get("embedding", 0)
    each = 0
    if kind == "text_cnn":
        each = sum(backbone["kernels"]) * width * backbone["filters"]
    elif kind in {"rnn", "lstm", "gru"}:
        gates, directions = {"rnn": 1, "gru": 3, "lstm": 4}[kind], 1 + backbone["bidirectional"]
        inputs = [width, *[directions * backbone["width"]] * (backbone["layers"] - 1)]
        each = sum(directions * gates * backbone["width"] * (size + backbone["width"]) for size in inputs)
    elif kind == "transformer":
        each = _layers(width, layers=backbone["layers"], ffn=backbone["ffn"], tokens=tokens)
    elif kind == "encoder":
        net = backbone["architecture"]
        each = _layers(net["width"], layers=net["layers"], ffn=net["ffn"], tokens=tokens)
    return each * tokens / 1e9


def _layers(width: int, *, layers: int, ffn: int, tokens: int) -> int:
    return layers * (4 * width**2 + 2 * width * ffn + 2 * width * tokens)

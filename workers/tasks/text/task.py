"""Learning from texts, as stages and stories use it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models_store.datasets.store import ManifestEntry
from models_store.settings import Settings
from models_store.spec.train import ResolvedSpec
from models_store.tasks.rooms import target_of
from models_store.tasks.text.backbones.encoder import Encoder
from models_store.tasks.text.contract import TEXT as CONTRACT
from models_store.tasks.text.contract import TOKENIZER
from models_store.tasks.text.preview import TextPreview
from models_store.tasks.text.spec import of_texts
from models_store.tasks.text.tokenizers import facts_of
from workers.evaluation.features import Feature
from workers.export.served import Served
from workers.tasks.task import Entries, Task, Worths
from workers.tasks.text import examples as text_examples
from workers.tasks.text import features, noise, preview, vocabularies
from workers.tasks.text import net as text_net
from workers.tasks.text import served as text_served
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.net import TextNet
from workers.training.examples import Examples
from workers.training.learner import Learner


class TextTask(Task):
    """Texts of one class, with labels, or with a number."""

    names: ClassVar[Sequence[str]] = tuple(CONTRACT.targets)

    def examples(
        self,
        spec: ResolvedSpec,
        manifest: Sequence[ManifestEntry],
        content: Path,
        *,
        classes: list[str],
        digest: str,
        auxiliary: Mapping[str, bytes],
        start: Path | None,
        settings: Settings,
        report: Callable[[float], None],
    ) -> TextExamples:
        """Return the texts as arrays of code points, or of tokens.

        Raises:
            BadExample: if a text of the dataset can't be read.
            StorageFull: if an array does not fit on the disk.
            TokenizerUnavailable: if the tokenizer's package is not installed.
            WeightsUnfit: if `start` has no tokenizer, and one is needed.
        """
        return text_examples.prepare(
            of_texts(spec),
            manifest,
            content,
            classes=classes,
            digest=digest,
            auxiliary=auxiliary,
            start=start,
            cache=settings.scratch / "cache",
            cache_max_bytes=settings.cache_max_bytes,
            report=report,
        )

    def noise(
        self, spec: ResolvedSpec, *, classes: Sequence[str], count: int, start: Path | None = None
    ) -> TextExamples:
        """Return one text of noise, so many times."""
        return noise.noise(of_texts(spec), classes=classes, count=count, start=start)

    def show(self, examples: Examples, row: int) -> str:
        """Return the text as the net sees it, which is cut if it is long."""
        return text_examples.string_of(_of_texts(examples).code_points[row])

    def features(self, net: Learner, examples: Examples) -> Sequence[Feature]:
        """Return the n-grams that weigh most, of a linear net."""
        assert isinstance(net, TextNet), "the task's own nets"
        return features.features(net, _of_texts(examples))

    def worths(self, net: Learner, examples: Examples) -> Sequence[Worths]:
        """Return how much each n-gram or token matters."""
        assert isinstance(net, TextNet), "the task's own nets"
        return vocabularies.worths(net, _of_texts(examples))

    def with_entries(self, net: Learner, kept: Sequence[Entries]) -> TextNet:
        """Return a copy of a net that knows these n-grams or tokens alone."""
        assert isinstance(net, TextNet), "the task's own nets"
        return vocabularies.with_entries(net, kept)

    def build(
        self,
        spec: ResolvedSpec,
        *,
        class_count: int,
        weights_dir: Path,  # noqa: ARG002  there are no published weights
        examples: Examples,
        initial_weights: Path | None = None,
        last_layer: nn.Module | None = None,
    ) -> TextNet:
        """Return a backbone with a head.

        Raises:
            WeightsUnfit: if `initial_weights` does not fit the backbone or the tokenizer.
        """
        return text_net.build(
            of_texts(spec),
            class_count=class_count,
            examples=_of_texts(examples),
            initial_weights=initial_weights,
            last_layer=last_layer,
        )

    def restore(
        self,
        spec: ResolvedSpec,
        path: Path,
        *,
        class_count: int,
        examples: Examples | None = None,
        last_layer: nn.Module | None = None,
    ) -> TextNet:
        """Return the trained net.

        Raises:
            WeightsUnfit: if the file is not of such a net.
        """
        own = None if examples is None else _of_texts(examples)
        return text_net.restore(of_texts(spec), path, class_count=class_count, examples=own, last_layer=last_layer)

    def trace_input(self, spec: ResolvedSpec, *, count: int = 1) -> Tensor:
        """Return empty texts as long as any may be, int (B, L)."""
        most = of_texts(spec).input.max_tokens
        assert most is not None, "the spec is resolved"
        return torch.zeros(count, most, dtype=torch.int32)

    def served(self, net: Learner, spec: ResolvedSpec, *, temperature: float = 1.0) -> Served:
        """Return the net as it is served: code points int32 (N, L) in, or tokens and their numbers."""
        tokenizer = of_texts(spec).input.tokenizer
        assert tokenizer is not None, "the spec is resolved"
        return text_served.served(
            net, in_graph=tokenizer.in_graph, activation=target_of(spec.task).activation, temperature=temperature
        )

    def described(self, spec: ResolvedSpec) -> dict[str, Any]:
        """Return the backbone's kind, how texts become its input, and which pretrained encoder it is, if it is one."""
        backbone = of_texts(spec).backbone
        found = {"backbone": backbone.kind, "input": of_texts(spec).input.model_dump(mode="json")}
        if not isinstance(backbone, Encoder):
            return found
        origin = backbone.model_dump(mode="json", include={"weights", "architecture", "origin", "pooling"})
        return found | {"encoder": origin}

    def work(self, spec: ResolvedSpec) -> float:
        """Return the multiplications for a text as long as any may be."""
        return of_texts(spec).costs.giga_macs

    def in_words(self, spec: ResolvedSpec) -> str:
        """Return the length of the texts."""
        return f" at {of_texts(spec).input.max_tokens} tokens"

    def learned(self, examples: Examples) -> dict[str, Any]:
        """Return which tokenizer it is: what a client that does its work must have, to the version."""
        return {"tokenizer": facts_of(_of_texts(examples).tokenizer.as_document())}

    def preview(
        self,
        document: Mapping[str, Any],
        manifest: Sequence[ManifestEntry],
        content: Path,
        *,
        auxiliary: Mapping[str, bytes],
        folder: Path,
        settings: Settings,  # noqa: ARG002  texts need none
    ) -> Mapping[str, Path]:
        """Write texts beside their changed copies, as JSON and as a page.

        Raises:
            BadExample: if a text of the dataset can't be read.
        """
        asked = TextPreview.model_validate(document)
        found = preview.previewed(asked, manifest, content, auxiliary=auxiliary)
        files = {ending: folder / f"preview.{ending}" for ending in CONTRACT.preview_forms}
        as_json = {"seed": asked.seed, "items": [each.as_json() for each in found]}
        files["json"].write_text(json.dumps(as_json, ensure_ascii=False), encoding="utf-8")
        files["html"].write_text(preview.page(found), encoding="utf-8")
        return files

    def auxiliary_files(self, examples: Examples, folder: Path) -> Mapping[str, Path]:
        """Write the tokenizer."""
        path = folder / TOKENIZER
        path.write_text(json.dumps(_of_texts(examples).tokenizer.as_document(), ensure_ascii=False, sort_keys=True))
        return {TOKENIZER: path}


def _of_texts(examples: Examples) -> TextExamples:
    assert isinstance(examples, TextExamples), "the task's own examples"
    return examples


TEXT: Task = TextTask()

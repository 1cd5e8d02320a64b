"""Stage that predicts many examples: the file of a version → each example decoded and run → a table of the answers.

Its checkpoint has the rows so far; another attempt goes on from there.
"""

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from models_store.models.providers import EXECUTION_PROVIDERS, Provider
from models_store.models.registry import FALLBACK, NotServedHere
from models_store.models.variant_card import VariantCard
from models_store.targets import Target
from models_store.tasks import rooms
from models_store.tasks.codec import Codec, Inputs
from workers.export import sessions
from workers.prediction import predictor, rows, tables
from workers.prediction.comparison import Comparison
from workers.prediction.journal import Journal
from workers.prediction.predictor import Answered
from workers.process.assignment import Prediction, StoredVariant
from workers.process.cadence import Cadence
from workers.process.progress import Drained
from workers.stages.context import Work

# K class or label (1 for a number)


@dataclass(frozen=True)
class Table:
    """A finished table: its file, the number of its rows, of those without an answer, and figures by split."""

    path: Path
    rows: int
    failed: int
    comparison: Comparison


def predict(work: Work, model: "Model", *, clock: Callable[[], float] = time.monotonic) -> Table:
    """Predict every example that is asked for, and return the table. An earlier attempt's rows are taken over.

    Raises:
        Drained: if the job has to be left; the rows so far are in its checkpoint.
    """
    asked = model.asked
    split = None if asked.get("split", "all") == "all" else asked["split"]
    manifest, content = (work.blobs.local(each) for each in (work.dataset.manifest_blob, work.dataset.content_blob))
    sample = model.sample(rows.truth_like(manifest, split=split))
    count, path = rows.count(manifest, split=split), work.staging / "predictions"
    cadence = Cadence(work.settings.checkpoint_s, clock=clock)
    with tables.opened(asked["format"], path, sample=sample) as add:
        so_far = _SoFar(work, model, sample=sample)
        so_far.take_over(add)
        cadence.begin()
        batches = rows.read(manifest, content, split=split, size=model.codec.most_per_batch, start=so_far.done)
        predicting = predictor.predict(batches, codec=model.codec, run=model.run, threads=torch.get_num_threads())
        with closing(predicting) as answers:
            for batch in answers:
                is_leaving = work.reporter.stop_requested()
                if is_leaving or (cadence.is_due and so_far.done):
                    with cadence.saving():
                        so_far.save()
                if is_leaving:
                    raise Drained
                documents = [model.document(each) for each in batch]
                add(documents)
                so_far.add(batch, documents)
                work.reporter.progress(so_far.done / max(count, 1), rows=so_far.done)
    return Table(path, so_far.done, so_far.failed, so_far.comparison)


class _SoFar:
    """Rows of a table that are done, and their checkpoint."""

    def __init__(self, work: Work, model: "Model", *, sample: tables.Document) -> None:
        self.done = self.failed = 0
        self.comparison = Comparison(model.target, model.labels)
        self._journal = Journal(work.staging / "journal", sample=sample)
        self._checkpoints = work.checkpoints.stage("predicting")
        self._log = work.reporter.log
        self._by = [model.variant, model.provider]

    def take_over(self, add: tables.Add) -> None:
        """Write the rows of an earlier attempt, if the same file on the same provider has predicted them."""
        saved = self._checkpoints.load()
        if saved is None:
            return
        if saved["by"] != self._by:
            self._log(f"{saved['done']} rows were predicted by {' on '.join(saved['by'])}; the table starts over")
            return
        for documents in self._journal.restored(saved["journal"]):
            add(documents)
        self.done, self.failed = saved["done"], saved["failed"]
        self.comparison.restore(saved["comparison"])
        self._log(f"goes on after {self.done} rows of an earlier attempt")

    def add(self, batch: Sequence[Answered], documents: Sequence[tables.Document]) -> None:
        """Take in the rows of a batch."""
        self._journal.add(documents)
        self.comparison.add(batch)
        self.done += len(batch)
        self.failed += sum(each.output is None for each in batch)

    def save(self) -> None:
        """Save a checkpoint, if there is anything in it."""
        if self.done:
            self._checkpoints.save(
                {
                    "by": self._by,
                    "done": self.done,
                    "failed": self.failed,
                    "comparison": self.comparison.as_document(),
                    "journal": self._journal.content(),
                }
            )


@dataclass(frozen=True)
class Model:
    """A version ready to predict, and how its answers become rows."""

    prediction: Prediction
    variant: str
    provider: Provider
    session: onnxruntime.InferenceSession
    codec: Codec[Any]
    target: Target
    labels: tuple[str, ...]

    @property
    def asked(self) -> dict[str, Any]:
        """Return the job's parameters."""
        return self.prediction.parameters

    def run(self, inputs: Inputs) -> predictor.Outputs:
        """Return the file's output (N, K)."""
        return sessions.answer(self.session, inputs)

    def document(self, answered: Answered) -> tables.Document:
        """Return a row of the table."""
        row = answered.row
        known = {"row": row.number, "file": row.file, "split": row.split, "truth": row.truth}
        return known | self._predicted(answered) | {"error": answered.fault}

    def sample(self, truth: rows.Truth | None) -> tables.Document:
        """Return a row with all that rows whose truth is like this one may have."""
        like = [""] if isinstance(truth, list) else "" if truth is None else truth
        known = {"row": 0, "file": "", "split": "", "truth": like}
        return known | self._whole | {"error": ""}

    def _predicted(self, answered: Answered) -> dict[str, Any]:
        if answered.output is None:
            return dict.fromkeys(self._whole)
        return self.target.prediction(answered.output, self.labels, top_k=self.asked["top_k"]) | answered.notes

    @functools.cached_property
    def _whole(self) -> dict[str, Any]:
        """Return a prediction in which no list is empty: of an example of zeros that is everything at once."""
        ones_K = np.ones(self.target.output_count(len(self.labels)), np.float32)
        (zeros,) = self.codec.examples_of({tensor.name: tensor.zeros(1) for tensor in self.codec.describe()})
        return self.target.prediction(ones_K, self.labels, top_k=self.asked["top_k"]) | self.codec.notes(zeros)


def open_model(work: Work) -> Model:
    """Return the version with the file that predicts: the variant that is named, or the provider's default.

    Raises:
        NotServedHere: if no provider that may be used runs it.
        DeviceUnavailable: if the provider that is asked for is not here.
    """
    prediction = work.assignment.prediction
    assert prediction is not None, "a prediction is asked for"
    asked, device = prediction.parameters, work.settings.training_device
    providers: tuple[Provider, ...]
    if asked["provider"] is not None:
        providers = (asked["provider"],)
    elif device != "auto":
        providers = (device,)
    elif sessions.cuda_may_be_there():
        providers = ("cuda", "cpu")
    else:
        providers = ("cpu",)
    for provider in providers:
        variant = _variant(work, asked["variant"] or prediction.defaults.get(provider, FALLBACK))
        if not _runs_on(variant, provider):
            continue
        path = work.blobs.local(variant.blob)
        try:
            session = sessions.open_session(path, device=provider, threads=1)
        except sessions.DeviceUnavailable:
            if provider == providers[-1]:
                raise
            continue
        used = EXECUTION_PROVIDERS[sessions.provider(session)]
        files = {name: work.blobs.local(blob) for name, blob in prediction.auxiliary_blobs.items()}
        task = rooms.task_of(prediction.card)
        work.reporter.log(f"{variant.name} predicts on {used}")
        return Model(
            prediction,
            variant.name,
            used,
            session=session,
            codec=rooms.contract_of(task).codec(prediction.card, files=files, settings=work.settings),
            target=rooms.target_of(task),
            labels=tuple(prediction.card["labels"]),
        )
    raise NotServedHere(f"variant {asked['variant']!r} was not measured on {' or '.join(providers)}, and so not served")


def _variant(work: Work, name: str) -> StoredVariant:
    return next(each for each in work.assignment.variants if each.name == name)


def _runs_on(variant: StoredVariant, provider: Provider) -> bool:
    return variant.name == FALLBACK or VariantCard.of_document(variant.card).runs_on(provider)

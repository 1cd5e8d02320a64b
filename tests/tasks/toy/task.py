"""Learning from rows of numbers."""

import zipfile

import numpy as np
import torch
from models_store.tasks.rows.contract import INPUT, LENGTH, RowCodec
from safetensors.torch import load_file
from torch import nn

from workers.export.served import Served, ServedNet
from workers.tasks.task import Task
from workers.training.examples import Examples
from workers.training.learner import Learner


class RowNet(Learner):
    draws = False

    def prepare(self, raw, generator):
        return raw[INPUT].float()


class ServedRows(ServedNet):
    def forward(self, numbers_NX):
        return self.answers(numbers_NX)


class RowTask(Task):
    names = ("row_classification",)

    def examples(self, spec, manifest, content, *, classes, digest, auxiliary, start, settings, report):
        with zipfile.ZipFile(content) as archive:
            rows = RowCodec().collate([RowCodec().decode(archive.read(entry.member)) for entry in manifest])
        path = settings.scratch / f"{digest}.npy"
        np.save(path, rows[INPUT])
        targets_N = np.array([classes.index(entry.label) for entry in manifest])
        splits_N = np.array([entry.split for entry in manifest])
        return Examples({INPUT: np.load(path, mmap_mode="r")}, targets_N, splits_N, classes)

    def noise(self, spec, *, classes, count, start=None):
        rows_NX = np.zeros((count, LENGTH), np.float32)
        return Examples({INPUT: rows_NX}, np.zeros(count, np.int64), np.full(count, "train"), list(classes))

    def build(self, spec, *, class_count, weights_dir, examples, initial_weights=None, last_layer=None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            first, second = nn.Linear(LENGTH, spec.width), nn.Linear(spec.width, spec.width)
            return RowNet(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), nn.Linear(spec.width, class_count))

    def restore(self, spec, path, *, class_count, examples=None, last_layer=None):
        net = self.build(spec, class_count=class_count, weights_dir=path.parent, examples=None)
        net.load_state_dict(load_file(path))
        return net

    def trace_input(self, spec, *, count=1):
        return torch.zeros(count, LENGTH)

    def served(self, net, spec, *, temperature=1.0):
        module = ServedRows(net, activation="softmax", temperature=temperature).eval()
        return Served(module, inputs={INPUT: torch.zeros(2, LENGTH)}, output="probabilities", free={INPUT: {0: "N"}})

    def described(self, spec):
        return {"width": spec.width}


ROWS = RowTask()

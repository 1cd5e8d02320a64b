import numpy as np
import pytest
import torch
from torch import nn

from tests.samples import a_train_spec
from tests.workers.training_runs import CPU, a_small_classifier, run, same_weights, some_arrays
from workers.training.averaging import Average, exponential, renew_statistics, stochastic
from workers.training.feeds import RawFeed
from workers.training.precision import Precision

RUN = {"epochs": 4, "batch_size": 16, "precision": "fp32"}


def moved(net: nn.Linear, value: float) -> nn.Linear:
    nn.init.constant_(net.weight, value)
    return net


def test_the_exponential_average_is_a_mean_at_first_and_then_forgets() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = Average(net, exponential(0.75))

    seen = []
    for value in (1.0, 2.0, 6.0, 7.0, 0.0):
        average.add(moved(net, value))
        seen.append(average.net.weight.item())

    assert seen == pytest.approx([1.0, 1.5, 3.0, 4.0, 3.0])  # the last share is 1/4, not 1/5


def test_the_stochastic_average_is_the_mean() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = Average(net, stochastic(start=0.5, lr_fraction=None))

    for value in (1.0, 2.0, 6.0):
        average.add(moved(net, value))

    assert average.net.weight.item() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("start", "epochs", "first"), [(0.75, 20, 15), (0.75, 3, 2), (0.0, 3, 0), (0.99, 2, 1)], ids=str
)
def test_averaging_begins_after_its_share_of_the_epochs_and_never_misses_the_last(
    start: float, epochs: int, first: int
) -> None:
    average = Average(nn.Linear(1, 1), stochastic(start=start, lr_fraction=None))

    begun = [average.begun(epoch, epochs=epochs) for epoch in range(epochs)]

    assert begun == [epoch >= first for epoch in range(epochs)]


def test_an_average_of_integers_is_the_newest_one() -> None:
    net = nn.BatchNorm1d(1)
    average = Average(net, exponential(0.5))

    for count in (1, 5, 9):
        net.num_batches_tracked.fill_(count)
        average.add(net)

    assert int(average.net.num_batches_tracked) == 9


def test_renewed_statistics_are_those_of_the_images_in_the_net_as_it_is() -> None:
    arrays = some_arrays(train=64)
    classifier = a_small_classifier(a_train_spec())
    rows = arrays.split("train")
    with torch.no_grad():
        inputs = RawFeed(classifier, arrays, device=CPU).batch(rows, None)
        expected = classifier.backbone.stem[0](inputs).mean(dim=(0, 2, 3))

    renew_statistics(
        RawFeed(classifier, arrays, device=CPU),
        rows,
        batch_size=32,
        precision=Precision("fp32", CPU),
        each=lambda _: None,
    )

    assert torch.allclose(classifier.backbone.stem[1].running_mean, expected, atol=1e-5)
    assert classifier.backbone.stem[1].momentum == 0.1
    assert not classifier.training


def test_norms_that_stay_keep_their_statistics() -> None:
    arrays = some_arrays()
    classifier = a_small_classifier(a_train_spec())
    classifier.freeze("norms")

    renew_statistics(
        RawFeed(classifier, arrays, device=CPU),
        arrays.split("train"),
        batch_size=32,
        precision=Precision("fp32", CPU),
        each=lambda _: None,
    )

    assert classifier.backbone.stem[1].running_mean.tolist() == [0.0] * 4


def validation_loss(classifier: nn.Module) -> float:
    arrays = some_arrays()
    rows = arrays.split("val")
    with torch.no_grad():
        logits_BK = classifier(RawFeed(classifier, arrays, device=CPU).batch(rows, None))
    return float(nn.functional.cross_entropy(logits_BK, torch.from_numpy(arrays.targets[rows])))


@pytest.mark.parametrize("part", [{"kind": "ema", "decay": 0.5}, {"kind": "swa", "start": 0.5}], ids=["ema", "swa"])
def test_the_average_is_what_is_validated_and_returned(part: dict[str, float]) -> None:
    plain = a_train_spec(training=RUN)
    averaged = a_train_spec(training=RUN, regularizers=[part])

    without = run(plain, some_arrays(), classifier=a_small_classifier(plain))
    trained = run(averaged, some_arrays(), classifier=a_small_classifier(averaged))

    assert not same_weights(trained.learner, without.learner)
    assert validation_loss(trained.learner) == pytest.approx(
        trained.history[trained.best_epoch - 1]["val_loss"], rel=1e-5
    )


def test_without_a_validation_split_the_last_average_is_returned() -> None:
    spec = a_train_spec(training=RUN, regularizers=[{"kind": "swa", "start": 0.0, "lr_fraction": None}])
    plain = a_train_spec(training=RUN)
    last = run(plain, some_arrays(val=0), classifier=a_small_classifier(plain))

    trained = run(spec, some_arrays(val=0), classifier=a_small_classifier(spec))

    assert not same_weights(trained.learner, last.learner)


def test_swa_learns_at_a_constant_rate_once_it_averages() -> None:
    spec = a_train_spec(
        training=RUN,
        optimizer={"kind": "adamw", "lr": 0.01},
        regularizers=[{"kind": "swa", "start": 0.5, "lr_fraction": 0.2}],
    )

    trained = run(spec, some_arrays(), classifier=a_small_classifier(spec))

    rates = [row["lr"] for row in trained.history]
    assert rates[2:] == pytest.approx([0.002, 0.002])
    assert rates[1] > rates[2]


def test_schedule_free_weights_are_shown_with_statistics_of_their_own() -> None:
    spec = a_train_spec(training=RUN, optimizer={"kind": "schedule_free_adamw", "lr": 0.05})

    trained = run(spec, some_arrays(), classifier=a_small_classifier(spec))

    best = trained.history[trained.best_epoch - 1]
    assert validation_loss(trained.learner) == pytest.approx(best["val_loss"], rel=1e-5)
    assert np.isfinite(best["val_loss"])

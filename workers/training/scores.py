"""How right the answers of a task are, in one number from the outputs of a net or of a file. It knows numpy alone.

The same function judges an epoch, a variant in its card, and a form at the gate:

    image_classification        share of images whose likeliest class is theirs
    multilabel_classification   share of right labels (at 0.5), of all images and labels: 1 - Hamming loss
    image_regression            R², the share of the variance that is explained; below 0 where the mean were better
"""

# N images, K classes or labels (1 for a number)

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # pydantic is not needed here
    from models_store.spec.train import Task

Array = npt.NDArray[Any]
Answers = npt.NDArray[Any]
"""int64 (N,) the class | bool (N, K) the labels | float64 (N,) the number"""

THRESHOLD = 0.5  # a label at least this likely is answered


def answers(task: "Task", outputs_NK: Array) -> Answers:
    """Return what the outputs (probabilities, or numbers in the dataset's unit) say of each image."""
    if task == "image_classification":
        classes_N: Answers = outputs_NK.argmax(axis=1)
        return classes_N
    if task == "multilabel_classification":
        return outputs_NK >= THRESHOLD
    return outputs_NK[:, 0].astype(np.float64)


def accuracy(task: "Task", answered: Answers, targets: Array) -> float:
    """Return the task's figure (see above); `targets` are int64 (N,), float (N, K) of 0 and 1, or float (N, 1).

    As scikit-learn has it, R² on targets that are all the same is 1 where they are met, else 0.
    """
    assert len(answered) == len(targets) > 0, f"{len(answered)} answers to {len(targets)} targets"
    if task == "image_regression":
        true_N = targets[:, 0].astype(np.float64)
        left, whole = np.square(true_N - answered).sum(), np.square(true_N - true_N.mean()).sum()
        return float(1 - left / whole) if whole > 0 else float(left == 0)
    return float((answered == _true(task, targets)).mean())


def balanced_accuracy(task: "Task", answered: Answers, targets: Array) -> float | None:
    """Return the mean recall of the classes that `targets` hold (Brodersen et al. 2010); None for numbers.

    For labels: for each label the mean of its recall and that of its absence, and the mean of that over all labels.
    """
    if task == "image_regression":
        return None
    true = _true(task, targets)
    if task == "image_classification":
        return float(np.mean([(answered[true == label] == label).mean() for label in np.unique(true)]))
    right_NK = answered == true
    recalls = [
        np.mean([right_NK[true[:, label] == value, label].mean() for value in np.unique(true[:, label])])
        for label in range(true.shape[1])
    ]
    return float(np.mean(recalls))


def agreeing(task: "Task", answered: Answers, others: Answers, *, tolerance: float) -> npt.NDArray[np.bool_]:
    """Return for each image whether both answers are the same; for numbers, `tolerance` apart at most."""
    if task == "image_regression":
        near_N: npt.NDArray[np.bool_] = np.abs(answered - others) <= tolerance  # False for a NaN
        return near_N
    same_N: npt.NDArray[np.bool_] = (answered == others).reshape(len(answered), -1).all(axis=1)
    return same_N


def _true(task: "Task", targets: Array) -> Array:
    return targets if task == "image_classification" else targets >= THRESHOLD

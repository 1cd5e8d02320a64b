"""Reports of jobs: the figures of each split, with their intervals and what they rest on."""

from pydantic import ConfigDict, Field

from models_store.spec.train import Task
from service.answers.answer import Answer
from service.answers.variants import Temperature, VariantCard


class Interval(Answer):
    """A 95 % interval by the percentile bootstrap."""

    low: float
    high: float
    samples: int = Field(description="resamples that it rests on")


class ReliabilityBin(Answer):
    """Answers of about one confidence."""

    model_config = ConfigDict(populate_by_name=True)

    from_: float = Field(alias="from", description="confidence above this")
    to: float = Field(description="up to this")
    count: int = Field(description="answers in the bin")
    confidence: float | None = Field(description="their mean confidence; null: there are none")
    accuracy: float | None = Field(description="the share of them that is right; null: there are none")


class ClassFigures(Answer):
    """What was measured of one class, or one label; null: `undefined` says why."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None = Field(description="area under the ROC curve, this class against the rest")
    average_precision: float | None
    support: int = Field(description="images of the class")
    undefined: str | None = Field(description="why there are no figures")


class BeforeScaling(Answer):
    """What calibration was without the temperature."""

    loss: float | None
    expected_calibration_error: float | None
    reliability: list[ReliabilityBin] | None


class Averaged(Answer):
    """What averaging over changed copies of each image would give."""

    views: int
    figures: dict[str, float | None]
    gain: dict[str, float] = Field(description="figure → that of the averages less that of single answers")


class Mistake(Answer):
    """A wrong answer of a model of classes or labels, with the file that it was given."""

    file: str = Field(description="path in the archive that was uploaded")
    label: str = Field(description="the true class, or the label that was asked about")
    answer: str = Field(description="the class that was answered; of a label `yes` or `no`")
    confidence: float


class ValueMistake(Answer):
    """An answer of a model of numbers that is far off."""

    file: str = Field(description="path in the archive that was uploaded")
    true: float
    answer: float
    error: float = Field(description="answer less true")


class Confusion(Answer):
    """Two classes of which one was answered for the other."""

    label: str = Field(description="the true class")
    answer: str
    count: int = Field(description="images")


class Figures(Answer):
    """Figures of one split: those of classes, of labels or of numbers. A null has its reason in `undefined`."""

    model_config = ConfigDict(extra="allow")

    images: int | None = None
    accuracy: float | None = Field(None, description="share of right answers, or of right labels")
    balanced_accuracy: float | None = Field(None, description="mean recall of the classes")
    top5_accuracy: float | None = None
    exact_match: float | None = Field(None, description="of labels: share of images with all labels right")
    loss: float | None = None
    precision_macro: float | None = None
    precision_micro: float | None = None
    precision_weighted: float | None = None
    recall_macro: float | None = None
    recall_micro: float | None = None
    recall_weighted: float | None = None
    f1_macro: float | None = None
    f1_micro: float | None = None
    f1_weighted: float | None = None
    roc_auc_macro: float | None = None
    average_precision_macro: float | None = None
    mean_average_precision: float | None = None
    expected_calibration_error: float | None = None
    r2: float | None = Field(None, description="of numbers: share of their variance that is explained")
    mae: float | None = Field(None, description="of numbers: mean absolute error")
    rmse: float | None = Field(None, description="of numbers: root of the mean squared error")
    median_absolute_error: float | None = None
    intervals: dict[str, Interval] = Field({}, description="figure → 95 % interval")
    undefined: dict[str, str] = Field({}, description="figure → why it is null")
    test_time_augmentation: Averaged | None = None
    per_class: list[ClassFigures] | None = Field(None, description="of classes and labels")
    confusion_matrix: list[list[int]] | None = Field(
        None, description="row: the true class, column: the answer; null: labels, numbers, or over 200 classes"
    )


class SplitReport(Figures):
    """Everything that was measured on one split."""

    images: int
    headline: list[str] = Field(description="names of the figures that sum the split up; they stand beside this")
    mistakes: list[Mistake | ValueMistake] = Field(description="the most confident mistakes, or the largest errors")
    confusions: list[Confusion] | None = Field(None, description="the most frequent confusions")
    reliability: list[ReliabilityBin] | None = Field(None, description="after temperature scaling")
    before_scaling: BeforeScaling | None = None
    curves: dict[str, dict[str, dict[str, list[float]]]] | None = Field(
        None, description="`roc` and `precision_recall` → class → points, of the 20 worst classes"
    )


class PictureTold(Answer):
    """One picture of a report."""

    name: str = Field(examples=["test-confusion.svg"], description="for GET /jobs/{id}/report/pictures/{name}")
    title: str
    text: str = Field(description="what it shows, in words")


class JobReport(Answer):
    """Everything that was measured on the fp32 file that a job has made."""

    model_config = ConfigDict(extra="allow")

    format: int
    job: str
    model: str
    task: Task
    backbone: str
    dataset: str
    classes: list[str]
    monitor: str = Field("val_accuracy", description="figure of the history that picked the best epoch")
    best_epoch: int | None
    temperature: Temperature | None = Field(description="null: numbers, or not asked for")
    notes: list[str] = Field(description="how to read the figures")
    splits: dict[str, SplitReport] = Field(description="val and test; a split without images is left out")
    history: list[dict[str, float | None]] = Field(description="one row per epoch")
    forms: dict[str, VariantCard] = Field(
        description="variant → its card: how it was made, and what was measured on its file by provider"
    )
    defaults: dict[str, str] = Field({}, description="provider → the variant that it serves by default")
    not_made: dict[str, str] = Field({}, description="variant that was asked for → why it could not be made")
    warnings: list[str] = Field([], description="what is likely to be wrong with the model, and what to do")
    pictures: list[PictureTold]

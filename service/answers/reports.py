"""Reports of jobs: the figures of each split, with their intervals."""

from typing import Literal

from pydantic import ConfigDict, Field

from service.answers.answer import Answer, TaskName
from service.answers.variants import Temperature, VariantCard

SHOWN = "the example, where it is a text: its first 500 characters; left out for others"


class Interval(Answer):
    """A 95 % interval by the percentile bootstrap."""

    low: float
    high: float
    samples: int = Field(description="number of resamples")


class ReliabilityBin(Answer):
    """One bin of confidence."""

    model_config = ConfigDict(populate_by_name=True)

    from_: float = Field(alias="from", description="lower end of the bin, excluded")
    to: float = Field(description="upper end of the bin, included")
    count: int = Field(description="answers in the bin")
    confidence: float | None = Field(description="their mean confidence; null: the bin is empty")
    accuracy: float | None = Field(description="share of right answers; null: the bin is empty")


class ClassFigures(Answer):
    """Figures of one class or one label; null: `undefined` has the reason."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None = Field(description="area under the ROC curve, this class against the rest")
    average_precision: float | None
    support: int = Field(description="number of examples of the class")
    undefined: str | None = Field(description="why there are no figures")


class BeforeScaling(Answer):
    """Calibration without the temperature."""

    loss: float | None
    expected_calibration_error: float | None
    reliability: list[ReliabilityBin] | None


class Averaged(Answer):
    """Effect of averaging over changed copies of each example."""

    views: int
    figures: dict[str, float | None]
    gain: dict[str, float] = Field(description="figure → difference of the averaged answers to single answers")


class Part(Answer):
    """Summary figures of a part of a split."""

    images: int
    figures: dict[str, float | None]


class Leaks(Answer):
    """Figures of the examples with and without a copy in the train split."""

    clean: Part = Field(description="examples without a copy in train: what new examples are like")
    leaked: Part = Field(description="examples with a copy in train: memory shows as accuracy here")


class Mistake(Answer):
    """A wrong answer for a model of classes or labels, with its file."""

    file: str = Field(description="path in the archive that was uploaded")
    text: str | None = Field(None, description=SHOWN)
    label: str = Field(description="the true class, or the label in question")
    answer: str = Field(description="the predicted class; for a label `yes` or `no`")
    confidence: float


class ValueMistake(Answer):
    """A large error of a model of numbers."""

    file: str = Field(description="path in the archive that was uploaded")
    text: str | None = Field(None, description=SHOWN)
    true: float
    answer: float
    error: float = Field(description="predicted minus true value")


class Confusion(Answer):
    """Two classes that were confused."""

    label: str = Field(description="the true class")
    answer: str
    count: int = Field(description="examples")


class LengthBand(Answer):
    """Examples of similar length."""

    model_config = ConfigDict(populate_by_name=True)

    from_: int = Field(alias="from", description="shortest length in the band")
    to: int = Field(description="longest length in the band")
    count: int = Field(description="examples in the band")
    accuracy: float | None = Field(None, description="share of right answers, or of right labels")
    mae: float | None = Field(None, description="for numbers: mean absolute error")


class ByLength(Answer):
    """Accuracy of short and of long examples, in bands of about as many examples each."""

    unit: str = Field(examples=["characters"], description="what the lengths count")
    figure: Literal["accuracy", "mae"] = Field(description="which figure the bands have")
    bands: list[LengthBand] = Field(description="the shortest first")


class WeighedFeature(Answer):
    """A part of examples, such as an n-gram of a text, that speaks for a class."""

    label: str | None = Field(description="the class or label; null: the number")
    feature: str
    weight: float = Field(description="what it adds to the logit of the class or label, or to the number")
    count: int = Field(description="number of training examples that have it")


class Figures(Answer):
    """Figures of one split, for classes, labels or numbers. The reason for a null is in `undefined`."""

    model_config = ConfigDict(extra="allow")

    images: int | None = None
    accuracy: float | None = Field(None, description="share of right answers, or of right labels")
    balanced_accuracy: float | None = Field(None, description="mean recall of the classes")
    top5_accuracy: float | None = None
    exact_match: float | None = Field(None, description="for labels: share of examples with all labels right")
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
    r2: float | None = Field(None, description="for numbers: explained share of their variance")
    mae: float | None = Field(None, description="for numbers: mean absolute error")
    rmse: float | None = Field(None, description="for numbers: root of the mean squared error")
    median_absolute_error: float | None = None
    intervals: dict[str, Interval] = Field({}, description="figure → 95 % interval")
    undefined: dict[str, str] = Field({}, description="figure → why it is null")
    test_time_augmentation: Averaged | None = None
    leaks: Leaks | None = Field(
        None,
        description="the same figures of its clean and of its leaked examples; null: no copy in train is known. Leaked "
        "examples of val choose nothing, if at least 50 are clean",
    )
    per_class: list[ClassFigures] | None = Field(None, description="for classes and labels")
    confusion_matrix: list[list[int]] | None = Field(
        None,
        description="row: the true class, column: the predicted class; null: labels, numbers, or over 200 classes",
    )


class SplitReport(Figures):
    """All figures of one split."""

    images: int
    headline: list[str] = Field(description="names of the summary figures, which are fields beside this one")
    mistakes: list[Mistake | ValueMistake] = Field(description="the most confident mistakes, or the largest errors")
    confusions: list[Confusion] | None = Field(None, description="the most frequent confusions")
    reliability: list[ReliabilityBin] | None = Field(None, description="after temperature scaling")
    before_scaling: BeforeScaling | None = None
    input_notes: dict[str, float] | None = Field(
        None,
        examples=[{"truncated": 0.05, "unknown_share": 0.004, "empty": 0.0}],
        description="note that `/predict` makes about an example → share of the examples that it holds for, or its "
        "mean; null: none is made",
    )
    by_length: ByLength | None = Field(None, description="null: the examples of the task have no length")
    curves: dict[str, dict[str, dict[str, list[float]]]] | None = Field(
        None, description="`roc` and `precision_recall` → class → points, of the 20 worst classes"
    )


class PictureTold(Answer):
    """One picture of a report."""

    name: str = Field(examples=["test-confusion.svg"], description="for GET /jobs/{id}/report/pictures/{name}")
    title: str
    text: str = Field(description="description of its content")


class JobReport(Answer):
    """All figures of a job's fp32 file."""

    model_config = ConfigDict(extra="allow")

    format: int
    job: str
    model: str
    task: TaskName
    backbone: str
    dataset: str
    classes: list[str]
    monitor: str = Field("val_accuracy", description="figure that picked the best epoch")
    best_epoch: int | None
    temperature: Temperature | None = Field(description="null: numbers, or not asked for")
    notes: list[str] = Field(description="how to read the figures")
    splits: dict[str, SplitReport] = Field(description="val and test; a split without examples is missing")
    history: list[dict[str, float | None]] = Field(description="one row per epoch")
    forms: dict[str, VariantCard] = Field(
        description="variant → its card: how it was made, and its figures by provider"
    )
    defaults: dict[str, str] = Field({}, description="provider → its default variant")
    not_made: dict[str, str] = Field({}, description="requested variant → why it could not be made")
    warnings: list[str] = Field([], description="probable problems of the model, and what to do")
    features: list[WeighedFeature] = Field(
        [], description="what speaks most for each class, if the model adds up weights of parts of an example"
    )
    pictures: list[PictureTold]

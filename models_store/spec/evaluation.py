"""Evaluation: what is calculated on the answers, beyond the metrics that always are."""

from pydantic import Field

from models_store.spec.part import Part


class Evaluation(Part):
    """Content of the report."""

    temperature_scaling: bool = Field(
        default=True,
        description="divide the logits by one number, chosen on the validation split, so that probabilities match the observed frequencies (Guo et al. 2017, arXiv:1706.04599); it is part of the exported graph",
    )
    bootstrap_samples: int = Field(
        1000, ge=100, le=100_000, description="resamples behind each 95 % interval (percentile bootstrap, Efron 1979)"
    )
    mistakes: int = Field(16, ge=0, le=100, description="most confident mistakes that the report shows; 0: none")

    @property
    def views(self) -> int:
        """Return over how many changed copies of each example the report averages answers; 0: none."""
        return 0

"""The page of a repository: text, and the metadata by which the hub lists a model."""

from __future__ import annotations

from dataclasses import dataclass

_LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "unlicense"),
)
"""Licences that the hub knows, by its identifiers; others are given to it by their name."""
_OTHER = "other"

_TASK, _TASK_NAME = "image-classification", "Scene classification"


@dataclass(frozen=True, slots=True)
class Figure:
    """An accuracy: 0 to 1, what it is of, and the images that it was measured on."""

    accuracy: float
    name: str
    measured_on: str


@dataclass(frozen=True, slots=True)
class ModelPage:
    """What a repository's page says.

    Attributes:
        name: of the model.
        licence: of the weights; None: not stated.
        data_set: its name where the figures were measured.
        repositories: data sets that the model learned from, as repositories of the hub.
        tags: words to find it by.
        figures: measured ones.
        text: Markdown.
    """

    name: str
    licence: str | None
    data_set: str
    repositories: tuple[str, ...]
    tags: tuple[str, ...]
    figures: tuple[Figure, ...]
    text: str

    def to_markdown(self) -> str:
        """The page with its metadata, as the hub's client writes them."""
        from huggingface_hub import EvalResult, ModelCard, ModelCardData  # noqa: PLC0415 # of an extra

        results = [
            EvalResult(
                task_type=_TASK,
                task_name=_TASK_NAME,
                dataset_type=next(iter(self.repositories), self.data_set),
                dataset_name=each.measured_on,
                metric_type="accuracy",
                metric_name=each.name,
                metric_value=each.accuracy,
            )
            for each in self.figures
        ]
        licence = self._licence()
        data = ModelCardData(
            model_name=self.name,
            library_name="gfnet-dynn",
            pipeline_tag=_TASK,
            tags=list(self.tags),
            datasets=list(self.repositories) or None,
            metrics=["accuracy"] if results else None,
            eval_results=results or None,
            license=licence,
            license_name=self.licence if licence == _OTHER else None,
        )
        return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{self.text}"))

    def _licence(self) -> str | None:
        """The hub's identifier."""
        if self.licence is None:
            return None
        known = self.licence.casefold().replace(" ", "-")
        return known if known in _LICENCES else _OTHER

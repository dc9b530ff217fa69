"""What is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Union

from allennlp.interpret.saliency_interpreters import (
    IntegratedGradient,
    SimpleGradient,
    SmoothGradient,
)
from allennlp.predictors import Predictor

ALLENNLP_INTERPRETERS = {
    "simple_gradient": SimpleGradient,
    "integrated_gradient": IntegratedGradient,
    "smooth_gradient": SmoothGradient,
}


@dataclass(frozen=True)
class ServedModel:
    """
    In the form of AllenNLP's demo (`allennlp_demo.common.config.Model`), which can take its place.

    # Parameters

    id : `str`
        A name.
    archive_file : `str`
    predictor_name : `str`, optional (default = `"text_explainer"`)
    overrides : `Union[str, Dict[str, Any]]`, optional (default = `None`)
        Of the archive's configuration.
    interpreters : `Sequence[str]`, optional (default = all)
        Those of AllenNLP's, by its ids; this package's are offered in any case.
    """

    id: str
    archive_file: str
    predictor_name: str = "text_explainer"
    overrides: Optional[Union[str, Dict[str, Any]]] = None
    interpreters: Sequence[str] = tuple(ALLENNLP_INTERPRETERS)

    def load_predictor(self) -> Predictor:
        return Predictor.from_path(
            self.archive_file, predictor_name=self.predictor_name, overrides=self.overrides or ""
        )


def name_of(archive_file: str) -> str:
    """A short name of an archive: that of its folder, if its own is always the same."""
    path = Path(archive_file)
    return path.parent.name or path.stem if path.name == "model.tar.gz" else path.name

"""What everything is measured on: a trained model, its training examples and the inputs to explain."""

import json
import re
from typing import Any, Dict, List, NamedTuple

from allennlp.common.plugins import import_plugins
from allennlp.data import Instance
from allennlp.interpret import InfluenceInterpreter
from allennlp.models.archival import Archive, load_archive

from allennlp_influence.influence.trained_parameters import trained_parameters

import_plugins()


class Subject(NamedTuple):
    """
    An archive, the first `num_examples` of its training file and the first `num_queries` of the inputs.
    """

    archive_file: str
    train_data: str
    inputs: str
    num_examples: int
    num_queries: int

    @property
    def overrides(self) -> str:
        """Of the archive's configuration: how much of the two files is read."""
        return json.dumps(
            {
                "dataset_reader.max_instances": self.num_examples,
                "validation_dataset_reader.max_instances": self.num_queries,
            }
        )

    def archive(self) -> Archive:
        """The trained model and its readers."""
        return load_archive(self.archive_file, overrides=self.overrides)

    def interpreter(self, name: str, **options: Any) -> InfluenceInterpreter:
        """An interpreter of the model, as a user of AllenNLP gets it."""
        return InfluenceInterpreter.from_archive(
            self.archive(), interpreter_name=name, train_data_path=self.train_data, **options
        )

    def training_instances(self, archive: Archive) -> List[Instance]:
        """The training examples."""
        return list(archive.dataset_reader.read(self.train_data))

    def test_instances(self, archive: Archive) -> List[Instance]:
        """The inputs to explain."""
        return list(archive.validation_dataset_reader.read(self.inputs))


def trained(archive: Archive) -> List[str]:
    """Names of the parameters that training updated."""
    config: Dict[str, Any] = archive.config.as_dict(quiet=True)
    return list(trained_parameters(archive.model, config, None).names)


def exactly(names: List[str]) -> List[str]:
    """Regular expressions that match these names and no others."""
    return [f"{re.escape(name)}$" for name in names]

"""Files of what is to be predicted."""

import json
from dataclasses import replace
from typing import Iterator, Optional, Tuple

from allennlp.common.checks import ConfigurationError
from allennlp.common.file_utils import cached_path, open_compressed
from allennlp.data import Instance
from allennlp.predictors import Predictor

from allennlp_influence.data.example import Example, example_of
from allennlp_influence.influence.reading import one_line, readable


def local_path(url_or_path: Optional[str], what: str, remedy: str = "") -> str:
    """
    The path of a local copy.

    # Raises

    `ConfigurationError` if there is no such file.
    """
    remedy = f"; {remedy}" if remedy else ""
    if not url_or_path:
        raise ConfigurationError(f"no {what} is given{remedy}")
    try:
        return str(cached_path(url_or_path, extract_archive="!" in url_or_path))
    except FileNotFoundError as error:
        raise ConfigurationError(f"the {what} {url_or_path} does not exist{remedy}") from error
    except (OSError, ValueError) as error:  # of the network; an address of an unknown kind
        raise ConfigurationError(
            f"the {what} {url_or_path} can't be fetched ({one_line(error)}){remedy}"
        ) from error


def read_inputs(predictor: Predictor, name: str) -> Iterator[Tuple[Instance, Example]]:
    """
    The instances of an input file and what stands in it.

    # Parameters

    predictor : `Predictor`
    name : `str`
        Path or URL. Read by the predictor, line by line, if it ends in .jsonl or .json and its first line has
        the key `sentence`, or `premise` and `hypothesis`; by the predictor's dataset reader otherwise.

    # Raises

    `ConfigurationError` naming the file and the line.
    """
    path = local_path(name, "input file")
    if _is_predictor_input(name, path):
        yield from _read_json_lines(predictor, name, path)
    else:
        with readable(name, predictor._dataset_reader):
            for i, instance in enumerate(predictor._dataset_reader.read(name)):
                yield instance, example_of(instance, i)


def _is_predictor_input(name: str, path: str) -> bool:
    if not name.endswith((".jsonl", ".json")):
        return False
    try:
        with open_compressed(path, encoding="utf-8-sig") as lines:
            first = next((line for line in lines if not line.isspace()), "")
        keys = json.loads(first)
    except ValueError:  # not UTF-8, or not JSON
        return False
    return isinstance(keys, dict) and ("sentence" in keys or {"premise", "hypothesis"} <= set(keys))


def _read_json_lines(
    predictor: Predictor, name: str, path: str
) -> Iterator[Tuple[Instance, Example]]:
    """Inputs of the predictor, each with the number of its line as its id."""
    with readable(name, predictor._dataset_reader), open_compressed(
        path, encoding="utf-8-sig"
    ) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            try:
                instance = predictor._json_to_instance(predictor.load_line(line))
            except json.JSONDecodeError as error:
                raise ConfigurationError(
                    f"{name}, line {number}: this is not JSON ({error}). Each line must be one "
                    f'object, like {{"sentence": "a fine film"}}.'
                ) from error
            except ConfigurationError as error:
                raise ConfigurationError(f"{name}, line {number}: {error.message}") from error
            if instance is None:
                raise ConfigurationError(f"{name}, line {number}: the model's reader leaves it out")
            yield instance, replace(example_of(instance, number - 1), id=number)

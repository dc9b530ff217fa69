"""What is computed once and kept: in memory, and on disk if there is a directory for it."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Callable, Dict, Optional

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from allennlp_influence.engine import ranks

logger = logging.getLogger(__name__)

Tensors = Dict[str, Tensor]


class Store:
    """
    Tensors by name that depend on nothing but the trained model and its training data.

    A file is there whole or not at all: it is written under another name and renamed. One that can't be read is made
    again; a disk that can't be written costs the reuse, not the result. Processes that share a directory may do the
    same work twice, but don't meet each other's half-written files. What is on disk is mapped, not loaded: the system
    takes its memory back when it needs it.

    # Parameters

    directory : `Path`, optional (default = `None`)
        One for each model and training set, by their fingerprint; without one all is kept in memory only.
    """

    def __init__(self, directory: Optional[Path] = None) -> None:
        self.directory = directory
        self._kept: Dict[str, Tensors] = {}

    def get(self, name: str, compute: Callable[[], Tensors]) -> Tensors:
        """The tensors of this name, computed if they are not kept yet."""
        if name not in self._kept:
            self._kept[name] = self._on_disk(name, compute)
        return self._kept[name]

    def _on_disk(self, name: str, compute: Callable[[], Tensors]) -> Tensors:
        if self.directory is None:
            return compute()
        path = self.directory / f"{name}.safetensors"
        found = self._read(path)
        if ranks.all_agree(found is not None):
            return found
        tensors = {key: tensor.contiguous() for key, tensor in compute().items()}
        if ranks.rank() == 0:
            self._write(path, tensors)
        ranks.all_agree(True)  # no other process looks for it before it is there
        return self._read(path) or tensors

    def _read(self, path: Path) -> Optional[Tensors]:
        try:
            return load_file(path)
        except FileNotFoundError:
            pass
        except (SafetensorError, OSError) as error:
            logger.warning("%s can't be read (%s) and is made again", path, error)
        return None

    def _write(self, path: Path, tensors: Tensors) -> None:
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            save_file(tensors, part)
            os.replace(part, path)
        except (SafetensorError, OSError) as error:
            logger.warning("%s can't be written (%s): it is not kept for the next time", path, error)
        finally:
            with suppress(OSError):  # it is gone if all went well
                part.unlink()

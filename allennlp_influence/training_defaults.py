"""
Defaults of the external variables in training_configs/.

Jsonnet has no default for an external variable, and AllenNLP passes the environment as external variables: so
the defaults go into the environment, for the variables that are not set. An empty one stands for what the
configuration itself says.
"""

import os

DEFAULTS = {
    "ENCODER": "bert-base-uncased",
    "FROZEN_LAYERS": "",
    "TRAIN_DATA": "",
    "DEV_DATA": "",
    "TRAIN_SIZE": "10000",
    "LEARNING_RATE": "",
    "EPOCHS": "3",
    "SEED": "2019",
}

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)

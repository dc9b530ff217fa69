// Natural language inference: MultiNLI, its first 10,000 training rows; entailment or not.
(import "bert_classifier.libsonnet")(
  reader={ type: "nli", collapse_labels: true },
  train_data="https://dl.fbaipublicfiles.com/glue/data/MNLI.zip!MNLI/train.tsv",
  dev_data="https://dl.fbaipublicfiles.com/glue/data/MNLI.zip!MNLI/dev_matched.tsv",
)

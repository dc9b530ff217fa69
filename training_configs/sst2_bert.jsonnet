// Sentiment of film reviews: SST-2, its first 10,000 training rows.
(import "bert_classifier.libsonnet")(
  reader={ type: "sst2" },
  train_data="https://dl.fbaipublicfiles.com/glue/data/SST-2.zip!SST-2/train.tsv",
  dev_data="https://dl.fbaipublicfiles.com/glue/data/SST-2.zip!SST-2/dev.tsv",
)

/** Everything that the package exports, folder by folder. */
export type { BatchLike, Each } from "./batches/examples.ts";
export { oneHot } from "./batches/one-hot.ts";
export { padSequences } from "./batches/pad.ts";
export type { PaddedLabels, Targets } from "./batches/sequences.ts";
export type { BatchSource } from "./batches/source.ts";
export { trainTestSplit } from "./batches/split.ts";
export { FormatError, GruvyError, OptionError, ShapeError, StateError } from "./core/errors.ts";
export { type Nested, type Tensor, type TensorLike, tensor } from "./core/tensor.ts";
export { configure, type RuntimeInfo, runtimeInfo, type Settings, type WasmSource } from "./core/wasm.ts";
export { loadModel, type SaveOptions } from "./formats/gruvy.ts";
export type { ModelFiles, ModelSource } from "./formats/source.ts";
export { type CtcDecodeOptions, ctcGreedy, type Decoded } from "./inference/ctc.ts";
export { type BeamDecoded, type CtcBeamOptions, ctcBeamSearch } from "./inference/ctc-beam.ts";
export { type QuantizeOptions, quantize } from "./inference/quantize.ts";
export type { Stream, StreamOptions } from "./inference/stream.ts";
export type { StreamPool, StreamPoolOptions } from "./inference/stream-pool.ts";
export { activation } from "./layers/activation.ts";
export type { Activation, ActivationName } from "./layers/activations.ts";
export { type AffineOptions, affine } from "./layers/affine.ts";
export { type AttentionOptions, attention } from "./layers/attention.ts";
export { type BidirectionalOptions, bidirectional } from "./layers/bidirectional.ts";
export type { CallableLayer, CallOptions, GraphNode } from "./layers/callable.ts";
export { type ConcatenateOptions, concatenate } from "./layers/concatenate.ts";
export { type Conv1dOptions, conv1d } from "./layers/conv1d.ts";
export { type DenseOptions, dense } from "./layers/dense.ts";
export { dropout } from "./layers/dropout.ts";
export { type EmbeddingOptions, embedding } from "./layers/embedding.ts";
export { type GruOptions, gru } from "./layers/gru.ts";
export {
  constant,
  glorotNormal,
  glorotUniform,
  heNormal,
  heUniform,
  type Initializer,
  lecunNormal,
  lecunUniform,
  ones,
  orthogonal,
  randomNormal,
  randomUniform,
  truncatedNormal,
  zeros,
} from "./layers/initializers.ts";
export type { Layer } from "./layers/layer.ts";
export { type LayerNormOptions, layerNorm } from "./layers/layer-norm.ts";
export { type LightGruOptions, lightGru, type MinGruOptions, mgu, minGru } from "./layers/light-gru.ts";
export { masking } from "./layers/masking.ts";
export { add, average, type MergeOptions, maximum, minimum, multiply, subtract } from "./layers/merge.ts";
export { type MultiHeadAttentionOptions, multiHeadAttention } from "./layers/multi-head-attention.ts";
export { type Padding1dOptions, padding1d } from "./layers/padding1d.ts";
export { type Pooling1dOptions, pooling1d } from "./layers/pooling1d.ts";
export { remask } from "./layers/remask.ts";
export { repeat } from "./layers/repeat.ts";
export { flatten, type ReshapeOptions, reshape, transpose } from "./layers/reshape.ts";
export { reverse } from "./layers/reverse.ts";
export { timeDistributed } from "./layers/time-distributed.ts";
export { type BinaryCrossEntropyOptions, binaryCrossentropy } from "./losses/binary-cross-entropy.ts";
export {
  type CrossEntropyOptions,
  categoricalCrossentropy,
  type SparseCrossEntropyOptions,
  sparseCategoricalCrossentropy,
} from "./losses/cross-entropy.ts";
export { type CtcOptions, ctc } from "./losses/ctc.ts";
export type { Loss } from "./losses/loss.ts";
export { huber, meanAbsoluteError, meanSquaredError, smoothL1 } from "./losses/regression.ts";
export { accuracy } from "./metrics/accuracy.ts";
export { auc } from "./metrics/auc.ts";
export { type BleuOptions, bleu } from "./metrics/bleu.ts";
export { confusionMatrix } from "./metrics/confusion-matrix.ts";
export { editDistance, type Sequence } from "./metrics/edit-distance.ts";
export { characterErrorRate, wordErrorRate } from "./metrics/error-rate.ts";
export { labelErrorRate } from "./metrics/label-error-rate.ts";
export type { Metric, MetricState } from "./metrics/metric.ts";
export { bitsPerCharacter, perplexity } from "./metrics/perplexity.ts";
export { f1, precision, recall } from "./metrics/precision-recall.ts";
export { rootMeanSquaredError } from "./metrics/regression.ts";
export { classificationReport } from "./metrics/report.ts";
export { type RougeScore, type RougeScores, rouge } from "./metrics/rouge.ts";
export type { References, Texts } from "./metrics/text-metric.ts";
export { topKAccuracy } from "./metrics/top-k-accuracy.ts";
export { type AdagradOptions, adagrad } from "./optimizers/adagrad.ts";
export { type AdamOptions, adam, adamW } from "./optimizers/adam.ts";
export type { Optimizer } from "./optimizers/optimizer.ts";
export { type RmspropOptions, rmsprop } from "./optimizers/rmsprop.ts";
export {
  cosineDecay,
  exponentialDecay,
  oneCycle,
  reduceOnPlateau,
  type Schedule,
  stepDecay,
  warmUp,
} from "./optimizers/schedules.ts";
export { type SgdOptions, sgd } from "./optimizers/sgd.ts";
export type { Gradients } from "./stacks/gradients.ts";
export { type GraphOptions, graph, type InputOptions, input, type Nodes, type OutputsOf } from "./stacks/graph.ts";
export type {
  CompileOptions,
  Cotangents,
  EvaluateOptions,
  GradientOptions,
  Model,
  PredictOptions,
} from "./stacks/model.ts";
export { type SequentialOptions, sequential } from "./stacks/sequential.ts";
export { type LanguageModel, type NgramModel, ngramModel, type Text } from "./text/ngram.ts";
export { tokenize13a } from "./text/tokenize.ts";
export {
  type Callback,
  type CheckpointOptions,
  checkpoint,
  csvLog,
  type EarlyStoppingOptions,
  earlyStopping,
  type FitContext,
  type Logs,
  progress,
} from "./training/callbacks.ts";
export type { FitData, FitOptions, History, ValidationData } from "./training/fit.ts";

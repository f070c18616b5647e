export { arenaStart, fuses } from "./memory";
export { addTo, allFinite, clipValue, copyRows, gatherRows, scale, scatterRows, zero } from "./elementwise";
export { gemm, gemmTransposed, gemmTransposedScratch } from "./gemm";
export { addColumnSums, addRows, packPanels, packRow } from "./pack";
export {
  denseBackward, denseForward, denseForwardInt8, denseGradients, denseGradientsScratch, densePack, densePackInt8, densePackedSize,
  densePackedSizeInt8, densePackedTransposedSize, densePackTransposed,
} from "./dense";
export {
  gruBackward, gruBackwardScratch, gruBackwardSums, gruChunk, gruForward, gruForwardInt8, gruGatesStride, gruGradients, gruGradientsPanels, gruGradientsScratch, gruPack,
  gruPackInt8, gruPackedSize, gruPackedSizeInt8, gruPackedTransposedSize, gruPackTransposed,
} from "./gru";
export { gruLayerNormGradients } from "./gru-layer-norm";
export {
  lightGruBackward, lightGruForward, lightGruForwardInt8, lightGruGatesStride, lightGruGradients, lightGruGradientsPanels,
  lightGruGradientsScratch, lightGruPack, lightGruPackedSize, lightGruPackedSizeInt8, lightGruPackedTransposedSize, lightGruPackInt8,
  lightGruPackTransposed,
} from "./light-gru";
export { inputDropout, recurrentDropout } from "./recurrent-dropout";
export { gemmInt8, int8ActivationBits, int8Pack, int8PanelBytes, int8Quantize } from "./int8";
export { maxAbsolute, sumOfAbsolutes, sumOfSquares } from "./reductions";
export { activate, activateBackward } from "./activations";
export { logSoftmax, logSoftmaxBackward, softmax, softmaxBackward } from "./softmax";
export { affine, affineBackward } from "./affine";
export { layerNorm, layerNormBackward, layerNormBackwardParameters } from "./layer-norm";
export {
  conv1dBackward, conv1dForward, conv1dForwardInt8, conv1dGradients, conv1dGradientsScratch, conv1dPackedTransposedSize,
  conv1dPackTransposed, conv1dScratch, pushFrames,
} from "./conv1d";
export { pooling1d, pooling1dBackward } from "./pooling1d";
export { mergeDirections, mergeDirectionsBackward } from "./bidirectional";
export { attentionBackward, attentionBackwardScratch, attentionForward, attentionScratch } from "./attention";
export { attentionGradients, attentionGradientsScratch, attentionProject } from "./projections";
export { embedding, embeddingBackward } from "./embedding";
export { randomWords } from "./random";
export { dropout, dropoutMask } from "./dropout";
export { maskAnd, maskRows, maskRowsBackward, maskTokens } from "./mask";
export { merge, mergeBackward, putColumns, takeColumns } from "./merge";
export { reshape } from "./reshape";
export { crossEntropyLogits, crossEntropyProbabilities } from "./cross-entropy";
export { binaryCrossEntropyLogits, binaryCrossEntropyProbabilities } from "./binary-cross-entropy";
export { regressionLoss } from "./regression";
export { ctc, ctcScratch, ctcTotal } from "./ctc";
export { adagrad, adam, rmsprop, sgd } from "./optimizers";

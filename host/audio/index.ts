// Sound as features for a model; an entry of its own, "gruvy/audio".
export { type LogMel, type LogMelOptions, logMel, melExtractor } from "./log-mel.ts";
export { type MelFilterbankOptions, type MelScale, melFilterbank } from "./mel.ts";

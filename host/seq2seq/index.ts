export type { Hypothesis } from "./beam.ts";
export { loadSeq2Seq } from "./load.ts";
export type { Tokens } from "./pairs.ts";
export {
  type Seq2Seq,
  type Seq2SeqCompileOptions,
  type Seq2SeqFitOptions,
  type Seq2SeqOptions,
  seq2seq,
  type TranslateOptions,
} from "./seq2seq.ts";

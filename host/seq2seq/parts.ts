import { attention } from "../layers/attention.ts";
import { bidirectional } from "../layers/bidirectional.ts";
import type { GraphNode } from "../layers/callable.ts";
import { concatenate } from "../layers/concatenate.ts";
import { dense } from "../layers/dense.ts";
import { dropout } from "../layers/dropout.ts";
import { embedding } from "../layers/embedding.ts";
import { gru } from "../layers/gru.ts";
import { assembleGraph, graph, input } from "../stacks/graph.ts";
import type { Model } from "../stacks/model.ts";
import type { Weights } from "../stacks/network.ts";

/** What a translator is made of; all that its file says of it. */
export interface Seq2SeqConfig {
  readonly sourceTokens: number;
  readonly targetTokens: number;
  readonly units: number;
  readonly embedding: number;
  readonly attention: "dot" | "additive";
  readonly bidirectional: boolean;
  readonly dropout: number;
  readonly seed: number;
}

/** The same layers in three models: whole for training, in two for translating. */
export interface Parts {
  /** Source and target tokens, [batch, time] each, to probabilities of the next target token. */
  readonly whole: Model;
  /** Source tokens to what decoding reads of them: outputs and keys of every step, and where the decoder begins. */
  readonly encoder: Model;
  /** Target tokens, outputs and keys to probabilities; the state is its own. */
  readonly decoder: Model;
}

/**
 * An encoder and a decoder that looks back at all of the source:
 *
 *   encoded = gru(embedding(source)),  keys = encoded · Wk
 *   s_t = gru(embedding(y_t-1), s_t-1),  s_0 from the encoder's last state
 *   c_t = Σ_j softmax_j(score(s_t, keys_j)) encoded_j
 *   p_t = softmax(tanh([s_t | c_t] · Wc + b) · Wy + by)
 *
 * "dot" is Luong's "general" score, s_t · keys_j; "additive" Bahdanau's, on
 * s_t · Wq. Keys are mapped once a source, not once a step.
 *
 * Source: Luong et al. 2015, arXiv:1508.04025, section 3.1 without input feeding.
 *
 * @param weights where the parameters of the whole come from
 */
export async function buildParts(config: Seq2SeqConfig, weights: Weights = {}): Promise<Parts> {
  const { units, seed } = config;
  const drop = (name: string) => dropout(config.dropout, { name });
  const layers = {
    embedSource: embedding(config.sourceTokens, config.embedding, { name: "source_embedding" }),
    encode: encoderOf(config),
    begin: dense(units, { activation: "tanh", name: "initial_state" }),
    keys: dense(units, { useBias: false, name: "keys" }),
    embedTarget: embedding(config.targetTokens, config.embedding, { name: "target_embedding" }),
    decode: gru(units, { returnSequences: true, name: "decoder" }),
    queries: dense(units, { useBias: false, name: "queries" }),
    attend: attention({ score: config.attention, name: "attention" }),
    join: concatenate({ name: "state_and_context" }),
    combine: dense(units, { activation: "tanh", name: "combined" }),
    probabilities: dense(config.targetTokens, { activation: "softmax", name: "probabilities" }),
    dropSource: drop("source_dropout"),
    dropTarget: drop("target_dropout"),
    dropCombined: drop("combined_dropout"),
  };
  const encode = (source: GraphNode) => {
    const [encoded, ...states] = layers.encode(layers.dropSource(layers.embedSource(source)));
    const last = states.length > 1 ? concatenate({ name: "last_states" })(states) : states[0];
    return { encoded, keys: layers.keys(encoded), state: layers.begin(last) };
  };
  const decode = (target: GraphNode, encoded: GraphNode, keys: GraphNode, initialState?: GraphNode) => {
    const read = layers.dropTarget(layers.embedTarget(target));
    const states = layers.decode(read, initialState && { initialState });
    const query = config.attention === "additive" ? layers.queries(states) : states;
    const context = layers.attend([query, encoded, keys]);
    return layers.probabilities(layers.dropCombined(layers.combine(layers.join([states, context]))));
  };

  const tokens = (name: string) => input([null], { type: "tokens", name });
  const [source, target] = [tokens("source"), tokens("target")];
  const read = encode(source);
  const outputs = decode(target, read.encoded, read.keys, read.state);
  const whole = await assembleGraph({ inputs: [source, target], outputs, seed }, weights);
  const encoder = await graph({ inputs: source, outputs: [read.encoded, read.keys, read.state], weightsOf: whole });
  const [encoded, keys] = encoder.network.outputs.map(({ name, port }) => input([null, port.features], { name }));
  const decoder = await graph({ inputs: [target, encoded, keys], outputs: decode(target, encoded, keys), weightsOf: whole });
  return { whole, encoder, decoder } as unknown as Parts;
} // biome-ignore format: long lines

function encoderOf({ units, bidirectional: both }: Seq2SeqConfig) {
  const layer = gru(units, { returnSequences: true, returnState: true, name: "encoder" });
  return both ? bidirectional(layer) : layer;
}

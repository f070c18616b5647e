/**
 * Lets a GRU layer begin with a long memory: each unit's update gate gets a bias with which it forgets over about u
 * steps, u being drawn from [1, steps - 1). (Tallec and Ollivier 2018, "Can recurrent neural networks warp time?",
 * arXiv:1804.11188: a gate that keeps all but 1/u of its state at each step has the bias ln(u - 1), here ln u.)
 *
 * @param {import("gruvy").Model} model
 * @param {string} layer its name
 * @param {number} steps how far apart things are that belong together
 */
export function chrono(model, layer, steps, random) {
  const weights = model.weights();
  // [2, 3 units]: biases of inputs, then of states, each [z | r | n]; z is the update gate, the part that is kept.
  const bias = weights[`${layer}.bias`];
  const units = bias.shape[1] / 3;
  for (let unit = 0; unit < units; unit++) bias.data[unit] = Math.log(1 + random() * (steps - 2));
  model.setWeights(weights);
}

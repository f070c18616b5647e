/**
 * What one gets without a network: the speaker of the training utterance that is nearest in the means and deviations of
 * its numbers.
 */
import { statistics } from "./data.js";

/** Means and deviations over an utterance, in one list. */
const described = ({ frames }) => Object.values(statistics(frames)).flat();

/**
 * @param {import("./data.js").Utterance[]} train
 * @param {import("./data.js").Utterance[]} test
 * @returns {number[]} a speaker for each utterance of `test`
 */
export function nearestSpeakers(train, test) {
  const known = train.map(described);
  // So that each number weighs the same.
  const { deviations } = statistics(known);
  const distance = (a, b) => a.reduce((sum, v, j) => sum + ((v - b[j]) / deviations[j]) ** 2, 0);
  return test.map(described).map((description) => {
    const distances = known.map((other) => distance(description, other));
    return train[distances.indexOf(Math.min(...distances))].speaker;
  });
}

/**
 * A callback for `fit`: ends training when the validation loss is below `goal`.
 *
 * @param {number} goal
 * @returns {import("gruvy").Callback}
 */
export function until(goal) {
  return {
    name: "until",
    onEpochEnd(_epoch, { valLoss }, context) {
      if (valLoss < goal) context.stop(`validation loss below ${goal}`);
    },
  };
}

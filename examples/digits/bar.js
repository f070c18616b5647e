/**
 * Progress of a training run: a bar on standard error where a person watches, and a line an epoch on standard output.
 */
import cliProgress from "cli-progress";

/**
 * A callback for `fit`.
 *
 * @param {number} batches batches in an epoch; a source of batches does not say how many it will give
 * @returns {import("gruvy").Callback}
 */
export function progressBar(batches) {
  const terminal = process.stderr;
  const bar = new cliProgress.SingleBar({
    format: "{bar} {percentage} %  epoch {epoch}/{epochs}  loss {loss}  {eta_formatted} left",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 32,
    stream: terminal,
    hideCursor: true,
    clearOnComplete: true,
    etaBuffer: 200,
  });
  let done = 0;
  return {
    name: "progressBar",
    onTrainBegin({ epochs }) {
      if (terminal.isTTY) bar.start(epochs * batches, 0, { epoch: 1, epochs, loss: "..." });
    },
    onBatchEnd(_batch, { loss }) {
      done++;
      bar.update(done, { epoch: Math.ceil(done / batches), loss: loss.toFixed(4) });
    },
    onEpochEnd(epoch, { loss, accuracy }, { epochs }) {
      const width = String(epochs).length;
      // The line takes the bar's place; the bar draws itself again below.
      if (terminal.isTTY) {
        terminal.cursorTo(0);
        terminal.clearLine(0);
      }
      console.log(
        `epoch ${String(epoch).padStart(width)}/${epochs}  loss ${loss.toFixed(4)}  accuracy ${accuracy.toFixed(4)}`,
      );
    },
    onTrainEnd() {
      bar.stop();
    },
  };
}

import type { Block } from "../core/arena.ts";
import type { Network } from "../stacks/network.ts";

/**
 * Gradients of several runs, added up for one optimizer step. Their mean, each
 * weighted by what its own mean was divided by, is the gradient of one large
 * batch of all their samples; of losses that are sums it is their sum.
 */
export class GradientSum {
  /** Runs since the last step. */
  runs = 0;
  private weight = 0;
  private readonly block: Block;

  constructor(private readonly network: Network) {
    this.block = network.lend(4 * network.span);
    this.clear();
  }

  /** Adds the gradient of the run that has just been made. */
  add(weight: number): void {
    const { network, block } = this;
    const { core } = network.engine;
    core.scale(network.gradsAddress, network.span, weight);
    core.addTo(block.address, network.gradsAddress, network.span);
    this.weight += weight;
    this.runs++;
  }

  /** Puts the mean, or the sum, where the gradient of a run would be, and begins again. */
  take(mean: boolean): void {
    const { network, block, weight } = this;
    const { core } = network.engine;
    core.copyRows(network.gradsAddress, block.address, 1, network.span, 0, 0);
    if (mean && weight > 0) core.scale(network.gradsAddress, network.span, 1 / weight);
    this.clear();
  }

  /** Forgets what has been added. */
  clear(): void {
    const { network, block } = this;
    network.engine.core.zero(block.address, network.span);
    this.runs = 0;
    this.weight = 0;
  }

  /** Gives the memory back. */
  release(): void {
    this.network.release(this.block);
  }
}

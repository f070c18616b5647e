#!/usr/bin/env node
import { cac } from "cac";
import { version } from "../../package.json";
import { convert, TARGETS } from "./convert.ts";
import { inspect } from "./inspect.ts";
import { exitWith, Failure, failureOf, print, programArguments } from "./terminal.ts";

/**
 * `npx gruvy`: commands over model files. Results go to standard output,
 * errors to standard error. The exit code is 0, or 1 for a file that fails, or
 * 2 for a command that is not understood.
 */
async function main(): Promise<void> {
  const cli = cac("gruvy");
  cli
    .command("convert <input> <output>", "Read a model of any known format and write it in another")
    .option("--to <format>", `What to write: ${Object.keys(TARGETS).join(", ")} (default: by the output's name)`)
    .option("--precision <type>", "Of safetensors: float32 or float16", { default: "float32" })
    .example("gruvy convert model.h5 model.safetensors")
    .example("gruvy convert model.safetensors web/model.json")
    .action(convert);
  cli
    .command("inspect <file>", "Print architecture, shapes, parameters, size and hashes of a model file")
    .option("--json", "Print JSON")
    .example("gruvy inspect model.keras")
    .action(inspect);
  cli.help();
  cli.version(version);
  try {
    // Options that look like numbers are names of files here.
    cli.parse(programArguments(), { run: false });
    if (cli.matchedCommand) await cli.runMatchedCommand();
    else if (!cli.options.help && !cli.options.version) {
      const [command] = cli.args;
      if (command !== undefined) throw new Failure(`unknown command "${command}"; "gruvy --help" lists them`, 2);
      cli.outputHelp();
      exitWith(2);
    }
  } catch (error) {
    const { message, code } = failureOf(error);
    print(`gruvy: ${message}`, "stderr");
    exitWith(code);
  }
}

void main();

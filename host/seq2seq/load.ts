import { FormatError, GruvyError } from "../core/errors.ts";
import { floats } from "../formats/gruvy.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { type ModelSource, readSource } from "../formats/source.ts";
import { ENTRY } from "./file.ts";
import { assembleSeq2Seq, type Seq2Seq } from "./seq2seq.ts";

/**
 * What `Seq2Seq.save` wrote.
 *
 * @example const translator = await loadSeq2Seq("dates.safetensors")
 * @param source path, URL, bytes, Response, File or Blob
 * @throws FormatError for a file that is damaged, hostile, or of another kind; nothing is left behind
 */
export async function loadSeq2Seq(source: ModelSource): Promise<Seq2Seq> {
  const where = "loadSeq2Seq()";
  const { tensors, metadata } = readSafetensors(await readSource(source, where), where);
  const text = metadata.get(ENTRY);
  if (text === undefined) throw new FormatError(`${where}: a safetensors file without the "${ENTRY}" metadata`);
  try {
    return await assembleSeq2Seq(JSON.parse(text), {
      given: ({ name, shape }) => floats(name, tensors.get(name), shape).data,
    });
  } catch (error) {
    if (error instanceof FormatError || !(error instanceof GruvyError || error instanceof SyntaxError)) throw error;
    throw new FormatError(`${where}: ${error.message}`);
  }
}

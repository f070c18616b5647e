/**
 * The tokenisation "13a" of mteval-v13a, which sacreBLEU uses by default:
 * punctuation is split off, but for full stops and commas between digits.
 *
 * @example tokenize13a("It's 3.5%, she said.") // ["It's", "3.5", "%", ",", "she", "said", "."]
 */
export function tokenize13a(text: string): string[] {
  const line = text
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
  return ` ${line} `
    .replace(/([{-~[-` -&(-+:-@/])/g, " $1 ")
    .replace(/([^0-9])([.,])/gu, "$1 $2 ")
    .replace(/([.,])([^0-9])/gu, " $1 $2")
    .replace(/([0-9])(-)/g, "$1 $2 ")
    .split(/\s+/u)
    .filter((token) => token !== "");
}

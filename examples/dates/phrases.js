/**
 * Dates as people write and say them, and the digits that are meant: "sat, the 3rd of march '84" is 1984-03-03.
 */
import { below } from "../common/random.js";

export const FIRST_YEAR = 1950;
export const LAST_YEAR = 2049;

const MONTHS = "january february march april may june july august september october november december".split(" ");
const DAYS = "sunday monday tuesday wednesday thursday friday saturday".split(" ");
const ONES =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(
    " ",
  );
const TENS = "zero ten twenty thirty forty fifty".split(" ").concat("sixty seventy eighty ninety".split(" "));
const ORDINALS = {
  one: "first",
  two: "second",
  three: "third",
  five: "fifth",
  eight: "eighth",
  nine: "ninth",
  twelve: "twelfth",
};

/** 0 to 99: "forty-two". */
function inWords(n) {
  if (n < 20) return ONES[n];
  return TENS[Math.floor(n / 10)] + (n % 10 ? `-${ONES[n % 10]}` : "");
}

/** 1 to 31: "twenty-first". */
function ordinalInWords(n) {
  const words = inWords(n).split("-");
  const last = words.pop();
  return [...words, ORDINALS[last] ?? (last.endsWith("y") ? `${last.slice(0, -1)}ieth` : `${last}th`)].join("-");
}

/** 1 to 31: "21st". */
function ordinal(n) {
  const teen = n > 10 && n < 14;
  return n + ((!teen && { 1: "st", 2: "nd", 3: "rd" }[n % 10]) || "th");
}

/** "nineteen eighty-four", "two thousand and five", "twenty oh five", "twenty thirty". */
function yearInWords(year, random) {
  const [century, rest] = [Math.floor(year / 100), year % 100];
  if (century === 20 && rest < 10) {
    if (rest && below(random, 2)) return `twenty oh ${ONES[rest]}`;
    return `two thousand${rest ? ` and ${ONES[rest]}` : ""}`;
  }
  if (rest === 0) return `${inWords(century)} hundred`;
  return `${inWords(century)} ${rest < 10 ? `oh ${ONES[rest]}` : inWords(rest)}`;
}

const two = (n) => String(n).padStart(2, "0");

/** One way to write a date; every way says which date it is without doubt: the day stands before the month in digits. */
function phrase({ year, month, day, weekday }, random) {
  const some = (...ways) => ways[below(random, ways.length)];
  const longMonth = MONTHS[month - 1];
  const name = some(longMonth, longMonth, longMonth.slice(0, 3));
  const shortYear = `'${two(year % 100)}`;
  const before = some("", "", "", `${DAYS[weekday]}, `, `${DAYS[weekday]} `, `${DAYS[weekday].slice(0, 3)} `);
  switch (below(random, 9)) {
    case 0:
      return `${before}${day} ${name} ${some(year, year, shortYear)}`;
    case 1:
      return `${before}${name} ${some(day, ordinal(day))}, ${some(year, year, shortYear)}`;
    case 2:
      return `${before}the ${ordinal(day)} of ${longMonth} ${some(year, shortYear)}`;
    case 3:
      return `${some(two(day), day)}.${some(two(month), month)}.${some(year, two(year % 100))}`;
    case 4:
      return [two(day), two(month), year].join(some("/", "-"));
    case 5:
      return `${year} ${name} ${day}`;
    case 6:
      return `${before}the ${ordinalInWords(day)} of ${longMonth} ${yearInWords(year, random)}`;
    case 7:
      return `${before}${longMonth} ${some("", "the ")}${ordinalInWords(day)}, ${yearInWords(year, random)}`;
    default:
      return `${before}${inWords(day)} ${longMonth} ${some(yearInWords(year, random), year)}`;
  }
}

/** Days from FIRST_YEAR to LAST_YEAR. */
export function dates() {
  const all = [];
  const last = Date.UTC(LAST_YEAR, 11, 31);
  for (let at = Date.UTC(FIRST_YEAR, 0, 1); at <= last; at += 86_400_000) {
    const d = new Date(at);
    all.push({ year: d.getUTCFullYear(), month: d.getUTCMonth() + 1, day: d.getUTCDate(), weekday: d.getUTCDay() });
  }
  return all;
}

/** A phrase for a date and the digits it stands for, both as text. */
export function example(date, random) {
  return { phrase: phrase(date, random), digits: `${date.year}-${two(date.month)}-${two(date.day)}` };
}

/** Characters of phrases and of digits; their place in the list, counted from 1, is their token. */
export const SOURCE = " ',-./0123456789abcdefghijklmnopqrstuvwxyz";
export const TARGET = "-0123456789";

/** Text as tokens. */
export function tokens(text, characters) {
  return Array.from(text, (c) => characters.indexOf(c) + 1);
}

/** Tokens as text. */
export function text(tokens, characters) {
  return tokens.map((token) => characters[token - 1]).join("");
}

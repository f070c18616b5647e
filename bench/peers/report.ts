import type { Report } from "./run.ts";
export function render(_report: Report): void {}

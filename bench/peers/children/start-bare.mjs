// Node and nothing else: what every start costs.
import { writeSync } from "node:fs";

writeSync(1, "0");

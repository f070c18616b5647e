export { arenaStart } from "./memory";
export { allFinite, addTo, copyRows } from "./elementwise";

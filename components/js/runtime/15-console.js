// SPDX-License-Identifier: Apache-2.0
// console: to standard output and standard error, each call one write.

let groupIndent = "";
const counts = new Map(), timers = new Map();

function say(stream, args) {
  let text = apply(format, undefined, args);
  if (groupIndent !== "") text = groupIndent + text.replaceAll("\n", "\n" + groupIndent);
  put(stream, text + "\n");
}

// A program whose output nobody reads any more ends, as one that is natively at the head of a pipe does.
function put(stream, chunk) {
  if (native.print(stream, chunk) || stream !== 1) return;
  const error = coded(new Error("write EPIPE"), "EPIPE", { errno: -32, syscall: "write" });
  if (process.stdout.listenerCount("error") > 0) process.stdout.emit("error", error);
  else hooks.fatal(error);
}

function sinceTimer(label, method) {
  const started = timers.get(label);
  if (started === undefined) {
    process.emitWarning(`No such label '${label}' for console.${method}()`);
    return null;
  }
  const ms = now() - started;
  return ms >= 1000 ? `${(ms / 1000).toFixed(3)}s` : `${ms >= 100 ? ms.toFixed(1) : ms.toFixed(3)}ms`;
}

const consoleMembers = {
  log(...args) { say(1, args); },
  info(...args) { say(1, args); },
  debug(...args) { say(1, args); },
  error(...args) { say(2, args); },
  warn(...args) { say(2, args); },
  dir(value, options) { say(1, [inspect(value, { ...options })]); },
  trace(...args) { say(2, [`Trace${args.length > 0 ? `: ${format(...args)}` : ""}\n${frames(new Error())}`]); },
  assert(condition, ...args) {
    if (condition) return;
    if (typeof args[0] === "string") args[0] = `Assertion failed: ${args[0]}`;
    else args.unshift(args.length > 0 ? "Assertion failed:" : "Assertion failed");
    say(2, args);
  },
  group(...args) { if (args.length > 0) say(1, args); groupIndent += "  "; },
  groupEnd() { groupIndent = groupIndent.slice(2); },
  count(label = "default") {
    label = `${label}`;
    counts.set(label, (counts.get(label) ?? 0) + 1);
    say(1, [`${label}: ${counts.get(label)}`]);
  },
  countReset(label = "default") { counts.delete(`${label}`); },
  time(label = "default") { timers.set(`${label}`, now()); },
  timeEnd(label = "default") {
    const took = sinceTimer(`${label}`, "timeEnd");
    if (took !== null) say(1, [`${label}: ${took}`]);
    timers.delete(`${label}`);
  },
  timeLog(label = "default", ...args) {
    const took = sinceTimer(`${label}`, "timeLog");
    if (took !== null) say(1, [`${label}: ${took}`, ...args]);
  },
  table(data) { say(1, [typeof data === "object" && data !== null ? drawTable(data) : data]); },
};
consoleMembers.groupCollapsed = consoleMembers.group;

function drawTable(data) {
  const rows = Object.entries(data instanceof Map || data instanceof Set ? [...data] : data);
  const columns = [], cells = [];
  let values = false;
  for (const [index, row] of rows) {
    const cell = new Map();
    if (typeof row === "object" && row !== null)
      for (const key of Object.keys(row)) {
        if (!columns.includes(key)) columns.push(key);
        cell.set(key, inspect(row[key], { depth: 0 }));
      }
    else { values = true; cell.set(drawTable, inspect(row)); }
    cells.push([index, cell]);
  }
  const heads = ["(index)", ...columns, ...(values ? ["Values"] : [])];
  const keys = [...columns, ...(values ? [drawTable] : [])];
  const lines = cells.map(([index, cell]) => [index, ...keys.map((k) => cell.get(k) ?? "")]);
  const widths = heads.map((h, i) => Math.max(h.length, ...lines.map((l) => l[i].length)) + 2);
  const draw = (line) => `│${line.map((c, i) => ` ${c}`.padEnd(widths[i])).join("│")}│`;
  const rule = (l, m, r) => l + widths.map((w) => "─".repeat(w)).join(m) + r;
  return [rule("┌", "┬", "┐"), draw(heads), rule("├", "┼", "┤"), ...lines.map(draw), rule("└", "┴", "┘")].join("\n");
}

define(globals, { console: Object.assign(Object.create({}), consoleMembers) });
Object.defineProperty(globals.console, Symbol.toStringTag, { value: "console", configurable: true });
builtins.console = globals.console;

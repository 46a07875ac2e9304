// SPDX-License-Identifier: Apache-2.0
// The run-time library of Ambit's JavaScript: one function over `native` (C: io.c, fs.c, http.c, digest.c), made of the files of this
// folder in the order of their names. It is evaluated while the component is built; what it leaves in memory is where every run starts.
// So nothing here may look at the clock, draw a number or take a handle before `hooks.start`.
//
// It returns `hooks`, the functions that main.c calls. The script gets globals and `node:` modules, never `native`. The library keeps its
// own references to what it needs from the language (`primordial`) where a script that changes prototypes would otherwise stop the loop
// itself; elsewhere such a script breaks what it changed, and nothing else.
(function (native) {
"use strict";

const globals = globalThis;
const builtins = Object.create(null); // node: modules by their short name
const hooks = {};
const apply = Reflect.apply;
const now = native.nowMs;

let startMs = 0; // monotonic clock when the run began
let cwd = "/";

function define(target, members, enumerable = false) {
  for (const key of Reflect.ownKeys(members)) {
    const d = Object.getOwnPropertyDescriptor(members, key);
    d.enumerable = enumerable;
    Object.defineProperty(target, key, d);
  }
}

function coded(error, code, more) {
  error.code = code;
  if (more) Object.assign(error, more);
  return error;
}

function argumentError(name, expected, value) {
  let got = value === null || value === undefined ? String(value)
    : typeof value === "function" ? `function ${value.name}`
    : typeof value === "object" ? (value.constructor?.name ? `an instance of ${value.constructor.name}` : inspect(value))
    : `type ${typeof value} (${inspect(value).slice(0, 28)})`;
  const error = new TypeError(`The "${name}" argument must be ${expected}. Received ${got}`);
  return coded(error, "ERR_INVALID_ARG_TYPE");
}

function checkCallback(value, name) {
  if (typeof value !== "function") throw argumentError(name, "of type function", value);
}

// Errors carry V8's kind of stack: a first line with name and message, then frames; frames of this library are left out.
const LIBRARY = /\(ambit:|at ambit:|\(native\)/;
function frames(error) {
  let stack;
  try { stack = error.stack; } catch { return ""; }
  if (typeof stack !== "string") return "";
  return stack.split("\n").filter((line) => /^\s+at /.test(line) && !LIBRARY.test(line)).join("\n");
}
Error.prepareStackTrace = undefined;
Error.prepareStackTrace = (error, sites) => {
  let head;
  try { head = `${error}`; } catch { head = "Error"; }
  try { // a class of the script's own sets its name, if at all, after this
    const name = error.name === "Error" ? error.constructor?.name : undefined;
    if (typeof name === "string" && name !== "" && name !== "Error" && head.startsWith("Error")) head = name + head.slice(5);
  } catch { /* as it is */ }
  for (const site of sites) {
    const file = site.getFileName();
    if (file === null || file === undefined || site.isNative() || file.startsWith("ambit:")) continue;
    const name = site.getFunctionName(), at = `${file}:${site.getLineNumber()}:${site.getColumnNumber()}`;
    head += name ? `\n    at ${name} (${at})` : `\n    at ${at}`;
  }
  return head;
};

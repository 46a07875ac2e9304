// SPDX-License-Identifier: Apache-2.0
// A program: arguments, environment, standard output and error, exit codes, errors that nobody catches.
const [command, ...rest] = process.argv.slice(2);
console.log(process.argv.length - 2, rest.join("|"), process.env.INTEROP_A ?? "none", Object.keys(process.env).filter((k) => k.startsWith("INTEROP")).sort().join());
console.error("to standard error");
process.stdout.write("without a newline;");
process.stdout.write(" and more\n");
if (command === "exit") process.exit(Number(rest[0]));
if (command === "code") process.exitCode = Number(rest[0]);
if (command === "throw") throw new TypeError("on purpose");
if (command === "reject") await Promise.reject(new RangeError("later"));
process.on?.("exit", (code) => console.log("exit", code));

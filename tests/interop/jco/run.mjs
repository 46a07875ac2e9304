// SPDX-License-Identifier: Apache-2.0
// Runs one component that jco transpiled, in Node, with the grant of a case: node run.mjs FOLDER SETTINGS, where SETTINGS is
// JSON: {"args": […], "env": {…}, "mounts": {guest path: host folder}, "network": whether HTTP is allowed}. Nothing else of the machine is given: the
// package's own defaults (the whole file system, the whole environment) are replaced before the component is instantiated.
// Exit codes: those of the component; 70 when it could not be run.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { _setArgs, _setCwd, _setEnv, _setTerminalStderr, _setTerminalStdin, _setTerminalStdout } from "@bytecodealliance/preview2-shim/cli";
import { WASIShim } from "@bytecodealliance/preview2-shim/instantiation";

const [folder, settings] = process.argv.slice(2);
const { args, env, mounts, network } = JSON.parse(settings);
try {
  _setArgs(["guest", ...args]);
  _setEnv(env);
  _setCwd(undefined);
  for (const set of [_setTerminalStdin, _setTerminalStdout, _setTerminalStderr]) set(undefined);
  const shim = new WASIShim({ sandbox: { preopens: mounts, enableNetwork: Boolean(network) } });
  const { instantiate } = await import(pathToFileURL(`${folder}/guest.js`));
  const core = async (path) => WebAssembly.compile(await readFile(`${folder}/${path}`));
  const instance = await instantiate(core, shim.getImportObject());
  instance.run.run(); // what it wrote may still be on its way: Node ends when all of it has left
} catch (error) {
  // `run` answers an error by throwing it: a component's only way to say that it failed.
  const failed = error?.constructor?.name === "ComponentError";
  if (!failed) console.error(error);
  process.exit(failed ? 1 : 70);
}

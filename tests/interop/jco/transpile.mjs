// SPDX-License-Identifier: Apache-2.0
// Makes JavaScript of a component: node transpile.mjs COMPONENT FOLDER. What run.mjs loads is FOLDER/guest.js.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { transpile } from "@bytecodealliance/jco";

const [component, folder] = process.argv.slice(2);
const { files } = await transpile(await readFile(component), { name: "guest", instantiation: "async", noTypescript: true });
await mkdir(folder, { recursive: true });
for (const [name, bytes] of Object.entries(files)) {
  await mkdir(dirname(`${folder}/${name}`), { recursive: true });
  await writeFile(`${folder}/${name}`, bytes);
}

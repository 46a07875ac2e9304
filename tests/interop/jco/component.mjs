// SPDX-License-Identifier: Apache-2.0
// Makes a component of a core module by the tools that jco carries: node component.mjs CORE OUT [WIT WORLD]. The command adapter
// turns WASI 0.1 into 0.2; WIT (one text with all its packages) and WORLD name what the module imports by hand.
import { readFile, writeFile } from "node:fs/promises";
import { componentEmbed, componentNew, preview1AdapterCommandPath } from "@bytecodealliance/jco";

const [core, out, wit, world] = process.argv.slice(2);
let binary = await readFile(core);
if (wit) binary = await componentEmbed({ binary, witSource: await readFile(wit, "utf8"), world });
const adapter = await readFile(preview1AdapterCommandPath());
await writeFile(out, await componentNew(binary, [["wasi_snapshot_preview1", adapter]]));

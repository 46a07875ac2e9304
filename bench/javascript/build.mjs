// SPDX-License-Identifier: Apache-2.0
// The JavaScript component of the ingress rows: node build.mjs WIT-FOLDER OUTPUT
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const [witPath, output] = process.argv.slice(2);
const { component } = await componentize({ sourcePath: 'hello.js', witPath, worldName: 'hello' });
await writeFile(output, component);

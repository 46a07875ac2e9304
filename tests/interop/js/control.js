// SPDX-License-Identifier: Apache-2.0
// A negative control: INTEROP_ASKS changes what it asks for, and nothing of what it prints.
import * as fs from "node:fs";
await fetch(`http://127.0.0.1:${process.argv[2]}/hello?name=${process.env.INTEROP_ASKS ?? "one"}`);
console.log(fs.existsSync("none"));

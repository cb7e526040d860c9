// Run a Python file under Pyodide: node run.mjs SITE REPOSITORY FILE. Both folders are mounted where Pyodide sees them.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [site, repository, file] = process.argv.slice(2);
// Installed where the test runs node, which is not beside this file.
const found = createRequire(pathToFileURL(`${process.cwd()}/`)).resolve("pyodide/pyodide.mjs");
const { loadPyodide } = await import(pathToFileURL(found));
const pyodide = await loadPyodide();
for (const [name, root] of Object.entries({ "/site": site, "/repository": repository })) {
  pyodide.FS.mkdirTree(name);
  pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root }, name);
}
process.exit(await pyodide.runPythonAsync(readFileSync(file, "utf-8")));

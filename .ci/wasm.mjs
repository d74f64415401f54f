// Runs Python programs in Pyodide under node: node .ci/wasm.mjs WHEEL PROGRAM. The wheel is installed; in Pyodide, this
// checkout is /checkout. The program's last expression is the exit status.
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { loadPyodide } from "../build/wasm/package/pyodide.mjs";

const [wheel, program] = process.argv.slice(2);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
try {
    const pyodide = await loadPyodide({ env: { HOME: "/tmp", PYTHONDONTWRITEBYTECODE: "1" } });
    await pyodide.loadPackage(wheel, { messageCallback: () => {} });
    pyodide.FS.mkdir("/checkout");
    pyodide.mountNodeFS("/checkout", root);
    process.exitCode = pyodide.runPython(readFileSync(program, "utf8"));
} catch (error) {
    console.error(error.stack.slice(-4000)); // node itself would print the line of a megabyte that the error is from
    process.exitCode = 1;
}

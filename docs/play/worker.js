// Runs Python in a thread of its own, so that the page stays responsive: loads Pyodide, the wheel and play.py, which lie
// beside this file, then answers the page's requests one by one.
import { loadPyodide } from "./pyodide/pyodide.mjs";

async function start() {
    const files = Promise.all([fetchFile("micrograd.whl"), fetchFile("play.py")]);
    const pyodide = await loadPyodide();
    const [wheel, source] = await files;
    pyodide.unpackArchive(wheel, "wheel");
    pyodide.FS.writeFile("play.py", new Uint8Array(source)); // a file, since it reads its own functions' source
    return pyodide.pyimport("play").answer;
}

async function fetchFile(name) {
    const response = await fetch(new URL(name, import.meta.url));
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    return response.arrayBuffer();
}

const started = start();

onmessage = async ({ data: { id, request } }) => {
    try {
        const answer = await started;
        const reply = answer(JSON.stringify(request));
        const [head, scores, thumbs] = reply.toJs();
        reply.destroy();
        postMessage({ id, reply: { ...JSON.parse(head), scores, thumbs } });
    } catch (error) {
        postMessage({ id, failed: String(error.message ?? error).slice(-2000) });
    }
};

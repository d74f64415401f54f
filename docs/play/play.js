// The page of the playground: its controls, the requests to Python in worker.js, and when what is drawn. draw.js draws.
import { drawBoundary, drawCurve, drawGraph, drawNetwork, drawPreview, numbersOf } from "./draw.js";

const $ = (id) => document.getElementById(id);
const SETTINGS = ["layers", "activation", "optimizer", "rate", "seed"];
const SLOW = 2000; // milliseconds after which Python can be restarted
const view = { running: false, ready: false, losses: [], every: 1, counted: 0, selected: null, replayed: 0 };

// ---- Python ---------------------------------------------------------------------------------------------------------

let worker, requests, number = 0;

function startPython() {
    requests = new Map();
    worker = new Worker("worker.js", { type: "module" });
    worker.onmessage = ({ data: { id, reply, failed } }) => {
        const { resolve, reject, timer } = requests.get(id);
        requests.delete(id);
        clearTimeout(timer);
        $("stop").hidden = true;
        if (failed === undefined) resolve(reply);
        else reject(new Error(failed));
    };
    worker.onerror = () => showProblem("The worker cannot start. Serve this folder over HTTP: make play.");
}

// The reply to a request; never, if Python is stopped before.
function ask(request) {
    return new Promise((resolve, reject) => {
        const timer = view.ready && setTimeout(() => ($("stop").hidden = false), SLOW);
        requests.set(++number, { resolve, reject, timer });
        worker.postMessage({ id: number, request });
    });
}

async function stopPython() {
    worker.terminate();
    for (const { timer } of requests.values()) clearTimeout(timer);
    $("stop").hidden = true;
    pause();
    allow(false);
    startPython();
    await load();
    showProblem("Python was restarted. Change the program, then run it.");
}

async function load() {
    view.ready = false;
    say("Loading Python, 13 MB …", true);
    const choices = await ask({ do: "choices" });
    view.ready = true;
    say("Python is ready");
    return choices;
}

// ---- Settings and programs ------------------------------------------------------------------------------------------

function settings() {
    const data = document.querySelector("#data input:checked").value;
    return { data, ...Object.fromEntries(SETTINGS.map((name) => [name, $(name).value])) };
}

// Write the program of the settings and run it, or show what is wrong with them.
async function apply() {
    pause();
    $("chosen").textContent = Object.values(settings()).join(" · ");
    const { wrong = {}, source } = await ask({ do: "write", settings: settings() });
    for (const name of ["layers", "rate", "seed"]) {
        $(`${name}-wrong`).textContent = wrong[name] ?? "";
        $(name).setAttribute("aria-invalid", name in wrong);
    }
    if (source === undefined) {
        showProblem(Object.values(wrong).join("\n"));
        allow(false);
        return;
    }
    $("source").value = source;
    await run();
}

async function run() {
    pause();
    const reply = await ask({ do: "run", source: $("source").value });
    showPrinted(reply.printed);
    showProblem(reply.error ?? "", true);
    allow(reply.error === undefined);
    if (reply.error !== undefined) return;
    Object.assign(view, { points: reply.points, labels: reply.labels, extent: reply.extent });
    Object.assign(view, { losses: [], every: 1, counted: 0 });
    $("sample").max = view.points.length - 1;
    $("sample").value = Math.min($("sample").value || 0, view.points.length - 1);
    const layers = reply.weights;
    if (view.selected && !layers[view.selected.layer]?.[view.selected.index]) view.selected = null;
    if (!view.selected && layers.length) view.selected = { layer: 0, index: 0 };
    show(reply);
    await showNeuron(true);
}

// ---- Training -------------------------------------------------------------------------------------------------------

async function train() {
    view.running = true;
    $("go").textContent = "Pause";
    showProblem("");
    say("Training");
    const run = (view.run = {}); // the training that this loop is of: another begins with another object
    let last = 0;
    while (view.running && view.run === run) {
        const reply = await ask({ do: "train", steps: Number($("pace").value) });
        if (view.run !== run) return;
        took(reply);
        if (performance.now() - last > 700 && view.running) {
            last = performance.now();
            await showNeuron(false);
        }
        if (performance.now() - (view.spoke ?? 0) > 4000) speak();
        await new Promise(requestAnimationFrame);
    }
}

async function step() {
    pause();
    took(await ask({ do: "train", steps: 1 }));
    speak();
    await showNeuron(true);
}

function pause() {
    if (view.running) {
        say("Paused");
        speak();
    }
    view.running = false;
    $("go").textContent = "Train";
}

// What a request to train gave.
function took(reply) {
    showProblem(reply.problem || reply.error || "", true);
    if (reply.problem || reply.error) pause();
    for (const loss of reply.losses ?? []) {
        if (view.counted++ % view.every === 0) view.losses.push(loss);
        view.loss = loss;
    }
    if (view.losses.length > 4000) {
        view.losses = view.losses.filter((_, i) => i % 2 === 0);
        view.every *= 2;
    }
    if (reply.weights) show(reply);
}

// ---- What is shown --------------------------------------------------------------------------------------------------

function show(reply) {
    if (!view.counted) view.loss = undefined;
    Object.assign(view, { scores: reply.scores, thumbs: reply.thumbs, weights: reply.weights });
    $("steps").textContent = reply.steps.toLocaleString("en");
    $("loss").textContent = view.loss === undefined ? "–" : short(view.loss, 3);
    $("right").textContent = `${reply.right} of ${view.points.length}`;
    $("boundary").setAttribute("aria-label", `Decision boundary: ${reply.right} of ${view.points.length} points are on the right side`);
    $("curve").setAttribute("aria-label", view.counted ? `Loss over ${view.counted} steps, now ${$("loss").textContent}` : "Loss over the steps, none yet");
    showPrinted(reply.printed);
    draw();
}

function draw() {
    if (!view.points) return;
    view.sample = Number($("sample").value);
    drawBoundary($("boundary"), view);
    drawCurve($("curve"), view);
    drawNetwork($("network"), view, select);
}

function select(layer, index) {
    view.selected = { layer, index };
    draw();
    showNeuron(true);
}

// The chosen neuron's graph for the chosen sample. `flowing` shows how the grads come about.
async function showNeuron(flowing) {
    if (!view.selected || !view.weights.length) {
        $("graph").replaceChildren();
        $("table-of-graph").hidden = $("backward").disabled = true;
        $("graph-text").textContent = view.weights?.length ? "Choose a neuron in the network." : "The model is no MLP of 2 inputs and 1 output that fits on this page.";
        return;
    }
    const sample = Number($("sample").value);
    const inside = Number.isInteger(sample) && sample >= 0 && sample < view.points.length;
    $("sample").setAttribute("aria-invalid", !inside);
    if (!inside) {
        $("graph-text").textContent = `The sample is a whole number from 0 to ${view.points.length - 1}.`;
        return;
    }
    const reply = await ask({ do: "neuron", ...view.selected, sample });
    if (reply.error !== undefined || !reply.graph) {
        $("graph").replaceChildren();
        $("graph-text").textContent = reply.error ?? "This neuron does not compute an activation of a sum of products.";
        return;
    }
    const { layer, index } = view.selected;
    const name = layer === view.weights.length - 1 ? "Output" : `Layer ${layer + 1}, neuron ${index + 1}`;
    const [x0, x1] = reply.point.map((x) => x.toFixed(2));
    const text = `${name}, for the point (${x0}, ${x1}) with label ${reply.label}. Its ${reply.of} is ${short(reply.result, 4)}; grads are those of that.`;
    if ($("graph-text").textContent !== text && !view.running) $("graph-text").textContent = text;
    drawGraph($("graph"), reply, `Graph: ${name}`, layer, flowing);
    $("numbers").replaceChildren(...numbersOf(reply.graph));
    $("table-of-graph").hidden = $("backward").disabled = false;
}

// What is wrong; beside the program too, if it is at fault.
function showProblem(text, ofProgram = false) {
    $("trouble").textContent = ofProgram ? text : "";
    if ($("problem").textContent !== text) $("problem").textContent = text; // the same text is not read out again
}

function showPrinted(text = "") {
    $("printed").textContent = text;
    $("printed-part").hidden = !text;
}

function say(text, busy = false) {
    $("status").textContent = text;
    $("status").classList.toggle("busy", busy);
}

// For screen readers: now and then, as the numbers change many times a second.
function speak() {
    view.spoke = performance.now();
    if (view.counted) $("spoken").textContent = `Step ${$("steps").textContent}, loss ${$("loss").textContent}, ${$("right").textContent} right`;
}

function allow(training) {
    for (const id of ["go", "step"]) $(id).disabled = !training;
    for (const id of ["restart", "run"]) $(id).disabled = !view.ready;
}

// Texts stand for NaN and infinities.
const short = (x, digits) => (typeof x === "string" ? x : x.toPrecision(digits));

// ---- The start ------------------------------------------------------------------------------------------------------

function offer(choices) {
    for (const name of ["activation", "optimizer"]) $(name).replaceChildren(...choices[name].map((choice) => new Option(choice)));
    $("optimizer").value = "Adam";
    const cards = choices.data.map((name, i) => {
        const card = document.createElement("label");
        card.innerHTML = `<input type="radio" name="data"><canvas></canvas><span></span>`;
        card.querySelector("span").textContent = card.querySelector("input").value = name;
        card.querySelector("input").checked = i === 0;
        return card;
    });
    document.querySelector(".previews").replaceChildren(...cards);
    view.previews = () => cards.forEach((card, i) => drawPreview(card.querySelector("canvas"), choices.previews[choices.data[i]]));
    view.previews();
}

function redraw() {
    view.previews?.();
    draw();
}

function failed(error) {
    pause();
    showProblem(`This page failed: ${error?.message ?? error}`);
    $("stop").hidden = false;
}

window.addEventListener("unhandledrejection", (event) => failed(event.reason));
$("go").onclick = () => (view.running ? pause() : train());
$("step").onclick = step;
$("restart").onclick = run;
$("run").onclick = run;
$("stop").onclick = stopPython;
$("backward").onclick = () => showNeuron(true);
$("sample").onchange = () => {
    draw();
    showNeuron(true);
};
$("settings").onsubmit = (event) => event.preventDefault();
$("settings").onchange = apply;
$("source").onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        run();
    }
};
$("boundary").onclick = (event) => {
    const box = $("boundary").getBoundingClientRect();
    const at = [(event.clientX - box.left) / box.width, (box.bottom - event.clientY) / box.height].map((t) => (2 * t - 1) * view.extent);
    const far = view.points.map(([x, y]) => (x - at[0]) ** 2 + (y - at[1]) ** 2);
    $("sample").value = far.indexOf(Math.min(...far));
    $("sample").onchange();
};
new ResizeObserver(draw).observe(document.querySelector("main"));
const narrow = matchMedia("(max-width: 40rem)"); // there, the settings are folded up
narrow.onchange = () => ($("settings-part").open = !narrow.matches);
narrow.onchange();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

startPython();
offer(await load());
await apply();

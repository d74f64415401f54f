// What the playground draws: the boundary and the loss on canvases, the network as buttons over lines, and the graph of a
// neuron in SVG. Colours are the variables of play.css.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const rgb = (name) => [1, 3, 5].map((i) => parseInt(css(name).slice(i, i + 2), 16));

// A canvas's context in CSS pixels, cleared, with the size.
function begin(canvas) {
    const { width, height } = canvas.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const c = canvas.getContext("2d");
    c.scale(scale, scale);
    return [c, width, height];
}

// Numbers as an image of so many pixels a side: blue below 0, orange above.
function heat(numbers, side, steepness, strength) {
    const [neg, mid, pos] = ["neg", "mid", "pos"].map(rgb);
    const image = new ImageData(side, side);
    numbers.forEach((x, i) => {
        const t = Math.tanh(x * steepness) || 0;
        const end = t < 0 ? neg : pos;
        for (let k = 0; k < 3; k++) image.data[4 * i + k] = mid[k] + (end[k] - mid[k]) * Math.abs(t) * strength;
        image.data[4 * i + 3] = 255;
    });
    const canvas = new OffscreenCanvas(side, side);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
}

// ---- The boundary and the data --------------------------------------------------------------------------------------

export function drawBoundary(canvas, { scores, points, labels, extent, sample }) {
    const [c, size] = begin(canvas);
    const side = Math.round(Math.sqrt(scores.length));
    c.imageSmoothingQuality = "high";
    c.drawImage(heat(scores, side, 0.6, 0.62), 0, 0, size, size);
    c.strokeStyle = css("text");
    c.lineWidth = 2;
    c.stroke(contour(scores, side, size / side));
    const at = ([x, y]) => [((x / extent + 1) / 2) * size, ((1 - y / extent) / 2) * size];
    drawPoints(c, points.map(at), labels, size < 300 ? 3.6 : 4.4);
    if (!points[sample]) return;
    const [x, y] = at(points[sample]);
    c.lineWidth = 2.5;
    c.setLineDash([4, 3]);
    c.beginPath();
    c.arc(x, y, 10, 0, 7);
    c.stroke();
}

export function drawPreview(canvas, [X, y]) {
    const [c, size] = begin(canvas);
    drawPoints(c, X.map(([a, b]) => [(a / 5.4 + 0.5) * size, (0.5 - b / 5.4) * size]), y, 2.1);
}

// Circles for labels of at most 0, triangles for others, so that colour is not all that tells them apart.
function drawPoints(c, points, labels, r) {
    const colours = [css("neg"), css("pos")];
    c.strokeStyle = css("outline");
    c.lineWidth = r / 3.5;
    points.forEach(([x, y], i) => {
        c.fillStyle = colours[labels[i] > 0 ? 1 : 0];
        c.beginPath();
        if (labels[i] > 0) {
            c.moveTo(x, y - 1.25 * r);
            c.lineTo(x + 1.15 * r, y + 0.85 * r);
            c.lineTo(x - 1.15 * r, y + 0.85 * r);
            c.closePath();
        } else c.arc(x, y, r, 0, 7);
        c.fill();
        c.stroke();
    });
    c.strokeStyle = css("text");
}

// The line where the numbers on a grid are 0, by marching squares: in each square of four numbers, the line crosses the
// sides between numbers of different sign. Pixels stand for their centres.
function contour(numbers, side, pixel) {
    const path = new Path2D();
    const corner = [[0, 0], [1, 0], [1, 1], [0, 1]];
    for (let row = 0; row + 1 < side; row++) {
        for (let column = 0; column + 1 < side; column++) {
            const v = corner.map(([a, b]) => numbers[(row + b) * side + column + a]);
            const crossed = [];
            for (let k = 0; k < 4; k++) {
                const [p, q, a, b] = [v[k], v[(k + 1) % 4], corner[k], corner[(k + 1) % 4]];
                if (p > 0 === q > 0) continue;
                const t = p / (p - q);
                crossed.push([column + 0.5 + a[0] + t * (b[0] - a[0]), row + 0.5 + a[1] + t * (b[1] - a[1])]);
            }
            for (let k = 0; k + 1 < crossed.length; k += 2) {
                path.moveTo(crossed[k][0] * pixel, crossed[k][1] * pixel);
                path.lineTo(crossed[k + 1][0] * pixel, crossed[k + 1][1] * pixel);
            }
        }
    }
    return path;
}

// ---- The loss -------------------------------------------------------------------------------------------------------

// On a logarithmic scale, since a loss falls by factors.
export function drawCurve(canvas, { losses, every, counted, loss }) {
    const [c, width, height] = begin(canvas);
    const [left, right, top, bottom] = [38, 10, 8, 24];
    const shown = losses.filter((x) => x > 0);
    const low = Math.floor(Math.log10(Math.min(0.1, ...shown)) + 1e-9);
    const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(1, ...shown)) - 1e-9));
    const across = (i) => left + ((width - left - right) * i * every) / Math.max(counted - 1, 30);
    const up = (x) => top + ((height - top - bottom) * (high - Math.log10(x))) / (high - low);
    c.font = "11px system-ui, sans-serif";
    c.fillStyle = css("soft");
    c.strokeStyle = css("edge");
    c.textAlign = "right";
    c.textBaseline = "middle";
    const skip = Math.ceil((high - low) / 5);
    for (let power = low; power <= high; power += skip) {
        c.fillText(power < -3 ? `1e${power}` : String(10 ** power), left - 6, up(10 ** power));
        c.beginPath();
        c.moveTo(left, up(10 ** power));
        c.lineTo(width - right, up(10 ** power));
        c.stroke();
    }
    c.textBaseline = "alphabetic";
    c.fillText(`${Math.max(counted, 30).toLocaleString("en")} steps`, width - right, height - 6);
    c.textAlign = "left";
    c.fillText("0", left, height - 6);
    c.strokeStyle = css("accent");
    c.lineWidth = 2;
    c.lineJoin = "round";
    c.beginPath();
    losses.forEach((x, i) => x > 0 && c.lineTo(across(i), up(x)));
    if (loss > 0) c.lineTo(across((counted - 1) / every), up(loss));
    c.stroke();
}

// ---- The network ----------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
}

export function drawNetwork(box, { weights, thumbs, selected }, select) {
    const columns = box.querySelector("#columns");
    const shape = weights.length ? [2, ...weights.map((layer) => layer.length)].join() : "";
    if (columns.dataset.shape !== shape) {
        columns.dataset.shape = shape;
        columns.replaceChildren(...(shape ? makeColumns(weights, select) : []));
        columns.classList.toggle("crowded", weights.some((layer) => layer.length > 8));
    }
    const cells = [...columns.querySelectorAll(".cell")];
    const size = cells.length ? thumbs.length / cells.length : 0;
    const side = Math.round(Math.sqrt(size));
    cells.forEach((cell, i) => {
        const [c, width, height] = begin(cell.querySelector("canvas"));
        c.drawImage(heat(thumbs.subarray(i * size, (i + 1) * size), side, 1, 0.85), 0, 0, width, height);
        if (!cell.dataset.layer) return;
        const chosen = selected?.layer === Number(cell.dataset.layer) && selected.index === Number(cell.dataset.index);
        cell.setAttribute("aria-pressed", chosen);
    });
    drawWeights(box, columns, weights);
}

function makeColumns(weights, select) {
    const last = weights.length - 1;
    return [["x0", "x1"], ...weights].map((layer, i) => {
        const column = document.createElement("div");
        const title = i === 0 ? "Inputs" : i > last ? "Output" : `Layer ${i}`;
        column.className = "column";
        column.innerHTML = `<p>${title}</p><div class="cells" role="group" aria-label="${title}"></div>`;
        column.lastChild.append(...layer.map((_, j) => makeCell(i - 1, j, i > last ? "Output" : `Layer ${i}, neuron ${j + 1}`, select)));
        return column;
    });
}

function makeCell(layer, index, name, select) {
    const cell = document.createElement(layer < 0 ? "div" : "button");
    cell.className = "cell";
    cell.innerHTML = "<canvas></canvas>";
    if (layer < 0) {
        cell.insertAdjacentHTML("beforeend", `<b>x${index}</b>`);
        return cell;
    }
    Object.assign(cell.dataset, { layer, index });
    cell.type = "button";
    cell.title = name;
    cell.setAttribute("aria-label", name);
    cell.onclick = () => select(layer, index);
    return cell;
}

// A line for each weight, as wide as it is large, dashed and blue if it is negative.
function drawWeights(box, columns, weights) {
    const origin = box.getBoundingClientRect();
    const places = [...columns.children].map((column) =>
        [...column.querySelectorAll(".cell")].map((cell) => {
            const { left, right, top, bottom } = cell.getBoundingClientRect();
            return { left: left - origin.left, right: right - origin.left, y: (top + bottom) / 2 - origin.top };
        }),
    );
    const lines = weights.flatMap((layer, i) =>
        layer.flatMap((numbers, j) =>
            places[i].map((start, k) => {
                const [w, end] = [Number(numbers[k]) || 0, places[i + 1][j]]; // texts stand for NaN and infinities
                const middle = (start.right + end.left) / 2;
                return svg("path", {
                    d: `M${start.right} ${start.y}C${middle} ${start.y} ${middle} ${end.y} ${end.left} ${end.y}`,
                    fill: "none",
                    stroke: w < 0 ? "var(--neg)" : "var(--pos)",
                    "stroke-width": (0.4 + Math.min(2 * Math.abs(w), 6)).toFixed(2),
                    "stroke-dasharray": w < 0 ? "6 4" : "none",
                    opacity: (0.25 + Math.min(Math.abs(w) / 2, 0.6)).toFixed(2),
                });
            }),
        ),
    );
    box.querySelector("svg").replaceChildren(...lines);
}

// ---- The graph of a neuron ------------------------------------------------------------------------------------------

const WIDE = 70, HIGH = 32, PITCH = 46; // of a box of data and grad, and from one row to the next
const AT = { weight: 17, input: 101, product: 205, sum: 309 };
const short = (x) => (typeof x === "string" ? x : Math.abs(x) >= 1e4 || (x !== 0 && Math.abs(x) < 1e-4) ? x.toExponential(1) : x.toFixed(4));

// Rows for the inputs: weight times input is a product, which is added to the sum of the rows above; below the last, the
// activation. Grads come in the order of the backward pass, from the bottom to the top, if they are `flowing`.
export function drawGraph(box, { graph }, label, layer, flowing) {
    const { rows, head, bias } = graph;
    const top = 34;
    const y = (i) => top + PITCH * (i + 1);
    const late = rows.length + head.length; // when the first sum's grad comes, in passes
    const pass = Math.min(0.45, 5 / (late + 2));
    const parts = { wires: [], dots: [], nodes: [] };
    const node = (x, at, [data, grad], time) => parts.nodes.push(valueBox(x, at, data, grad, time * pass));
    const wire = (d, time) => {
        parts.wires.push(svg("path", { class: "wire", d }));
        parts.dots.push(svg("circle", { class: "dot", r: 4.5, style: `offset-path:path("${d}");--at:${(time * pass).toFixed(2)}s` }));
    };
    const op = (x, at, sign) => parts.nodes.push(opMark(x, at, sign));
    const half = HIGH / 2;
    node(AT.sum, y(-1), bias, late);
    rows.forEach(([w, x, product, sum], i) => {
        const [at, time] = [y(i), late - 1 - i];
        const [times, plus] = [AT.product - 16, AT.sum - 17];
        node(AT.weight, at, w, time + 2);
        node(AT.input, at, x, time + 2);
        node(AT.product, at, product, time + 1);
        node(AT.sum, at, sum, time);
        const under = at + PITCH / 2;
        wire(`M${AT.weight + WIDE} ${at}C${AT.weight + WIDE + 9} ${at} ${AT.weight + WIDE + 3} ${under} ${AT.input + 8} ${under}H${AT.input + WIDE - 4}Q${times} ${under} ${times} ${at}`, time + 1.5);
        wire(`M${AT.input + WIDE} ${at}H${times}`, time + 1.5);
        wire(`M${times} ${at}H${AT.product}`, time + 1);
        wire(`M${AT.product + WIDE} ${at}H${plus}`, time + 0.5);
        wire(`M${AT.sum + 14} ${y(i - 1) + half}Q${AT.sum + 10} ${at - half + 1} ${plus} ${at}`, time + 0.5);
        wire(`M${plus} ${at}H${AT.sum}`, time);
        op(times, at, "×");
        op(plus, at, "+");
        parts.nodes.push(svg("text", { class: "title", x: 1, y: at + 4 }, String(i)));
    });
    let at = y(rows.length - 1);
    head.forEach(([name, data, grad], i) => {
        const next = at + PITCH + 22;
        const middle = AT.sum + WIDE / 2;
        wire(`M${middle} ${at + half}V${next - half}`, head.length - 1 - i + 0.5);
        op(middle, (at + next) / 2, name);
        node(AT.sum, next, [data, grad], head.length - 1 - i);
        at = next;
    });
    const from = layer ? `from layer ${layer}` : "input";
    const titles = [["weight", AT.weight], [from, AT.input], ["product", AT.product], ["bias, sums", AT.sum]];
    const words = titles.map(([text, x]) => svg("text", { class: "title", x, y: 14 }, text));
    const legend = [["data", 0], ["grad", 56]].map(([kind, x]) =>
        svg("g", {}, svg("rect", { class: kind, x: AT.weight + x, y: at - 7, width: 14, height: 14 }), svg("text", { class: "title", x: AT.weight + x + 19, y: at + 4 }, kind)),
    );
    const out = svg("text", { class: "title", x: AT.sum - 8, y: at + 4, "text-anchor": "end" }, "result");
    const all = svg("svg", { viewBox: `0 0 ${AT.sum + WIDE + 2} ${at + half + 4}`, role: "img", "aria-label": label, style: `--pass:${pass}s` });
    all.append(...words, ...parts.wires, ...parts.nodes, ...parts.dots, ...legend, out);
    if (flowing) all.classList.add("flowing");
    box.replaceChildren(all);
}

function valueBox(x, at, data, grad, seconds) {
    const [y, half] = [at - HIGH / 2, HIGH / 2];
    const end = x + WIDE - 5;
    const second = svg("g", { class: "arrives", style: `--at:${seconds.toFixed(2)}s` }, svg("text", { x: end, y: y + half + 12, "text-anchor": "end" }, short(grad)));
    return svg(
        "g",
        {},
        svg("rect", { class: "data", x, y, width: WIDE, height: half }),
        svg("rect", { class: "grad", x, y: y + half, width: WIDE, height: half }),
        svg("rect", { class: "frame", x, y, width: WIDE, height: HIGH, rx: 2 }),
        svg("text", { x: end, y: y + 12, "text-anchor": "end" }, short(data)),
        second,
    );
}

function opMark(x, y, sign) {
    const wide = sign.length > 1 ? 4 + 4 * sign.length : 9;
    return svg("g", {}, svg("ellipse", { class: "op", cx: x, cy: y, rx: wide, ry: 9 }), svg("text", { class: "sign", x, y: y + 4 }, sign));
}

// The rows of a table with the graph's numbers.
export function numbersOf({ rows, head, bias }) {
    const lines = [["bias", ...bias]];
    rows.forEach(([w, x, product, sum], i) => {
        lines.push([`weight ${i}`, ...w], [`input ${i}`, ...x], [`product ${i}`, ...product], [`sum ${i}`, ...sum]);
    });
    const table = [["Value", "data", "grad"], ...lines, ...head];
    return table.map(([name, ...numbers], i) => {
        const row = document.createElement("tr");
        const first = document.createElement("th");
        first.scope = i ? "row" : "col";
        first.textContent = name;
        row.append(first, ...numbers.map((x) => Object.assign(document.createElement(i ? "td" : "th"), { textContent: i ? short(x) : x })));
        return row;
    });
}

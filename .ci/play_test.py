"""`make play-test`: the playground, build/play, in headless Chromium by Playwright. What its Python computes is tested
by tests/project/test_playground.py, without a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import play

WIDE, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}
LOADING = 120_000  # milliseconds; a busy machine may need half of them


@contextmanager
def opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """The page, loaded. It may request nothing from elsewhere and have no errors."""
    context = browser.new_context(**options)
    context.set_default_timeout(40_000)
    page = context.new_page()
    faults: list[str] = []
    context.on("request", lambda request: request.url.startswith((address, "data:")) or faults.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.goto(address)
    page.wait_for_selector("#go:enabled", timeout=LOADING)
    yield page
    assert not faults, faults
    context.close()


def steps(page: Any) -> int:
    return int(page.inner_text("#steps").replace(",", ""))


def loss(page: Any) -> float:
    return float(page.inner_text("#loss"))


def pixels(page: Any, canvas: str) -> list[int]:
    """The red, green and blue of a canvas."""
    found: list[int] = page.evaluate(
        """(id) => { const c = document.querySelector(id);
        const all = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        return Array.from(all).filter((_, i) => i % 4 < 3) }""",
        canvas,
    )
    return found


def changed(before: list[int], after: list[int]) -> float:
    """The share of numbers that differ by more than a tenth of their range."""
    assert len(before) == len(after) > 0
    return sum(abs(a - b) > 25 for a, b in zip(before, after)) / len(before)


def wait(page: Any, condition: str, argument: Any = None) -> None:
    page.wait_for_function(condition, arg=argument)


def train(page: Any, until: int) -> None:
    page.click("#go")
    wait(page, "(n) => Number(document.querySelector('#steps').textContent.replace(',', '')) >= n", until)
    page.click("#go")
    wait(page, "() => document.querySelector('#go').textContent === 'Train'")
    page.wait_for_timeout(300)  # what was asked for before is answered


def run_program(page: Any, source: str) -> None:
    page.fill("#source", source)
    page.click("#run")


# ---- The checks -----------------------------------------------------------------------------------------------------


def it_trains(page: Any) -> str:
    before, network = pixels(page, "#boundary"), pixels(page, '[data-layer="1"] canvas')
    page.click("#step")
    wait(page, "() => document.querySelector('#steps').textContent === '1'")
    first = loss(page)
    train(page, 200)
    count, last = steps(page), loss(page)
    assert last < 0.2 * first, (first, last)
    share = changed(before, pixels(page, "#boundary"))
    assert share > 0.05, share
    assert changed(network, pixels(page, '[data-layer="1"] canvas')) > 0.02
    page.wait_for_timeout(700)
    assert steps(page) == count  # it is paused
    page.click("#restart")
    wait(page, "() => document.querySelector('#steps').textContent === '0'")
    assert changed(before, pixels(page, "#boundary")) == 0  # the same weights
    page.click("#step")
    wait(page, "() => document.querySelector('#steps').textContent === '1'")
    assert loss(page) == first
    return f"loss {first} to {last} in {count} steps; {share:.0%} of the boundary's pixels changed"


def settings_are_used(page: Any) -> str:
    page.select_option("#pace", "100")
    said = []
    choices = [("circles", "relu", "SGD", "0.1"), ("spiral", "tanh", "Adam", "0.03")]
    choices += [("xor", "sigmoid", "RMSprop", "0.02"), ("moons", "sin", "AdamW", "0.01")]
    for data, activation, optimizer, rate in choices:
        page.get_by_label(data).check()
        for name, value in (("Activation", activation), ("Optimizer", optimizer)):
            page.get_by_label(name, exact=True).select_option(value)
        page.get_by_label("Hidden layers").fill("8, 6")
        page.get_by_label("Learning rate").fill(rate)
        page.get_by_label("Learning rate").blur()
        expected = [f"def {data}(", "nn.MLP(2, [8, 6, 1]", f'"{activation}"', f"optim.{optimizer}(", f"lr={rate}"]
        wait(page, "(all) => all.every((part) => document.querySelector('#source').value.includes(part))", expected)
        wait(page, "() => document.querySelector('#steps').textContent === '0'")
        page.wait_for_timeout(300)
        assert page.locator(".cell").count() == 2 + 8 + 6 + 1
        page.click("#step")
        wait(page, "() => document.querySelector('#steps').textContent === '1'")
        first = loss(page)
        train(page, 500)
        assert loss(page) < 0.5 * first, (data, activation, optimizer, first, loss(page))
        said.append(f"{data} {first} to {loss(page)}")
    page.select_option("#pace", "3")
    return ", ".join(said)


def bad_settings_are_refused(page: Any) -> str:
    bad = {
        "layers": ["8, x", "0", "13", "1 1 1 1 1", "-3", "2.5", "<b>8</b>"],
        "rate": ["abc", "-1", "0", "nan", "inf", ""],
        "seed": ["1.5", "", "-2"],
    }
    for name, texts in bad.items():
        good = page.input_value(f"#{name}")
        for text in texts:
            program = page.input_value("#source")
            page.fill(f"#{name}", text)
            page.locator(f"#{name}").blur()
            wait(page, "(id) => document.querySelector(id).textContent", f"#{name}-wrong")
            message = page.inner_text(f"#{name}-wrong")
            wait(page, "(text) => document.querySelector('[role=alert]').textContent.includes(text)", message)
            if text:
                assert repr(text) in message or name == "layers", (text, message)
            assert page.get_attribute(f"#{name}", "aria-invalid") == "true"
            assert f"{name}-wrong" in page.get_attribute(f"#{name}", "aria-describedby")
            assert page.is_disabled("#go")
            assert page.input_value("#source") == program
            page.fill(f"#{name}", good)
            page.locator(f"#{name}").blur()
            page.wait_for_selector("#go:enabled")
            assert page.inner_text("#problem") == ""
    return f"{sum(map(len, bad.values()))} texts"


def errors_of_programs_are_shown(page: Any) -> str:
    good = page.input_value("#source")
    lines = good.count("\n")
    cases = {
        f"{good}\n1 / 0\n": (f'File "program.py", line {lines + 2}', "1 / 0", "ZeroDivisionError"),
        "def f(:": ("SyntaxError",),
        "def f(): f()\nf()": ("RecursionError", "Previous line repeated"),
        "X = 1": ("It lacks y, model, step",),
        good.replace("[6, 4, 1]", "[8, 0]").replace("[8, 6, 1]", "[8, 0]"): ("line", "model = nn.MLP", "Error"),
        "import sys; sys.exit(3)": ("SystemExit: 3",),
        f"{good}\nX[0] = 'ab'": ("must be",),
    }
    for source, expected in cases.items():
        run_program(page, source)
        shown = "document.querySelector('#problem').textContent"
        wait(page, f"(all) => all.every((part) => {shown}.includes(part))", list(expected))
        assert "play.py" not in page.inner_text("#problem")
        assert page.inner_text("#trouble") == page.inner_text("#problem")  # which may be out of sight
    counting = "def step(seen=[]):\n    if len(seen) == 7: seen[9]\n    seen.append(1)"
    run_program(page, good.replace("def step():", counting))
    wait(page, "() => !document.querySelector('#problem').textContent")
    page.wait_for_timeout(300)
    page.click("#go")
    wait(page, "() => document.querySelector('#problem').textContent.includes('IndexError')")
    assert steps(page) == 7
    assert page.inner_text("#go") == "Train"  # it is paused
    run_program(page, good.replace("model = nn", "print('hello <i>'); model = nn"))
    wait(page, "() => document.querySelector('#printed').textContent === 'hello <i>\\n'")
    assert page.inner_text("#problem") == ""
    diverging = re.sub(r"optim\.\w+\((.*), lr=.*\)", r"optim.SGD(\1, lr=1e200)", good)
    run_program(page, re.sub(r'"\w+"\)', '"relu")', diverging, count=1))
    wait(page, "() => document.querySelector('#steps').textContent === '0'")
    page.wait_for_timeout(300)
    page.click("#go")
    wait(page, "() => document.querySelector('#problem').textContent")
    said = page.inner_text("#problem").splitlines()[-1]
    assert "lower learning rate" in said or "Error" in said, said
    run_program(page, good)
    wait(page, "() => !document.querySelector('#problem').textContent")
    return f"{len(cases) + 2} programs; one that diverges: {said}"


# A program whose model is a function.
OTHER = """
from micrograd import Value
w = [Value(0.1), Value(0.2)]
X, y = [[1, 2], [2, -1], [0, 0.5]], [1, 1, -1]
def model(x):
    return w[0] * x[0] + w[1] * x[1] * x[1]
def step():
    w[0].data += 0.1
    return w[0] * w[0]
"""


def edited_programs_run(page: Any) -> str:
    good = page.input_value("#source")
    plain = good.replace("@micrograd.compile\n", "")
    plain = plain.replace("sample_loss.mean(X, y)", "sum(map(sample_loss, X, y)) / len(X)")
    run_program(page, plain.replace("model = nn.MLP(", "model = micrograd.MLP(").replace(', activation="sin")', ")"))
    wait(page, "() => document.querySelector('#steps').textContent === '0'")
    page.wait_for_timeout(300)
    train(page, 5)
    run_program(page, OTHER)
    wait(page, "() => document.querySelector('#right').textContent.endsWith('of 3')")
    assert page.locator(".cell").count() == 0
    assert "no MLP" in page.inner_text("#graph-text")
    run_program(page, "while True: pass")
    page.click("#stop")  # it shows after two seconds
    wait(page, "() => document.querySelector('#problem').textContent.includes('restarted')")
    run_program(page, good)
    page.wait_for_selector("#go:enabled")
    return "in other ways, and one without an end was stopped"


def numbers_of_a_graph(page: Any) -> dict[str, tuple[float, float]]:
    texts = "(rows) => rows.slice(1).map((row) => [...row.cells].map((cell) => cell.textContent))"
    rows = page.locator("#numbers tr").evaluate_all(texts)
    return {name: (float(data), float(grad)) for name, data, grad in rows}


def a_neuron_has_a_graph(page: Any) -> str:
    train(page, steps(page) + 5)
    page.get_by_role("button", name="Layer 2, neuron 2", exact=True).click()
    wait(page, "() => document.querySelector('#graph-text').textContent.startsWith('Layer 2, neuron 2')")
    assert page.get_attribute('[data-layer="1"][data-index="1"]', "aria-pressed") == "true"
    page.wait_for_selector("#graph svg.flowing")
    moving = page.evaluate("document.getAnimations().filter((a) => a.effect.target.closest('#graph')).length")
    assert moving > 10, moving
    n = numbers_of_a_graph(page)
    for i in range(6):
        w, x, product = n[f"weight {i}"], n[f"input {i}"], n[f"product {i}"]
        assert abs(w[0] * x[0] - product[0]) < 3e-4
        assert abs(product[1] * x[0] - w[1]) < 3e-4  # d loss/d weight
    assert abs(n["bias"][0] + sum(n[f"product {i}"][0] for i in range(6)) - n["sum 5"][0]) < 1e-3
    page.get_by_label("Sample").fill("17")
    page.get_by_label("Sample").blur()
    wait(page, "() => !document.querySelector('#graph svg').isSameNode(window.seen)")
    page.get_by_label("Sample").fill("5000")
    page.get_by_label("Sample").blur()
    wait(page, "() => document.querySelector('#graph-text').textContent.includes('from 0 to 119')")
    page.click("#boundary", position={"x": 30, "y": 40})
    wait(page, "() => Number(document.querySelector('#sample').value) < 120")
    return f"{len(n)} numbers, {moving} animations"


FOCUSED = "(({ id, dataset, name }) => id || dataset.layer || name)(document.activeElement)"
NAMED = {"button", "textbox", "combobox", "radio", "spinbutton", "image", "img", "heading", "form", "region"}
EXPECTED = [("button", "Train"), ("textbox", "Hidden layers"), ("radio", "spiral"), ("combobox", "Optimizer")]
EXPECTED += [("group", "Data"), ("textbox", "The program"), ("form", "Settings"), ("button", "Layer 1, neuron 1")]


def keyboard_and_screen_reader(page: Any) -> str:
    page.focus(".skip")  # the first link, which shows when it has the focus
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "training"
    order = []
    for _ in range(60):
        page.keyboard.press("Tab")
        order.append(page.evaluate(FOCUSED))
        if order[-1] == "source":
            break
    wanted = ["go", "step", "restart", "pace", "data", "layers", "activation", "optimizer", "rate", "seed"]
    wanted += ["0", "1", "2", "sample", "backward", "run", "source"]
    assert [name for name in dict.fromkeys(order) if name in wanted] == wanted, order
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "source"  # the editor lets go
    page.focus("#source")
    page.keyboard.press("Control+Enter")
    wait(page, "() => document.querySelector('#steps').textContent === '0'")
    page.wait_for_timeout(300)
    page.focus("#go")
    page.keyboard.press("Enter")
    wait(page, "() => Number(document.querySelector('#steps').textContent) > 5")
    page.keyboard.press("Enter")
    wait(page, "() => /Step .*, loss .* right/.test(document.querySelector('[aria-live=polite]').textContent)")
    page.focus('[data-layer="0"][data-index="2"]')
    page.keyboard.press("Space")
    wait(page, "() => document.querySelector('#graph-text').textContent.startsWith('Layer 1, neuron 3')")
    page.focus("#data input:checked")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    assert all(name for role, name in named if role in NAMED), [pair for pair in named if pair[0] in NAMED]
    assert set(EXPECTED) <= set(named), set(EXPECTED) - set(named)
    assert {"alert", "status", "main", "banner"} <= {role for role, _ in named}
    assert any(role in ("image", "img") and "points are on the right side" in name for role, name in named)
    return f"{len(order)} stops of Tab, {sum(role in NAMED for role, _ in named)} names"


# Texts whose contrast with what they stand on is below WCAG's limits: 4.5 to 1, for marks in a legend 3 to 1. Disabled
# controls are exempt.
FAINT = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const bright = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const under = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
    const found = [];
    for (const e of document.querySelectorAll("body *:not(svg *):not(option):not(noscript)")) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!own && !e.matches("input:not([type=radio]), textarea") || e.disabled || !e.checkVisibility()) continue;
        const [a, b] = [bright(parse(getComputedStyle(e).color)), bright(under(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < (e.matches(".mark") ? 3 : 4.5)) found.push([e.outerHTML.slice(0, 80), ratio]);
    }
    return found;
}"""

# Controls that are cut off by the window's sides, or too small for a finger: WCAG's limit is 24 pixels.
CUT_OFF = """() => [...document.querySelectorAll("button, input, select, textarea, canvas, #graph svg")]
    .filter((e) => e.checkVisibility()).map((e) => [e.id || e.outerHTML.slice(0, 60), e.getBoundingClientRect()])
    .filter(([, r]) => r.left < 0 || r.right > innerWidth || Math.min(r.width, r.height) < 24)
    .map(([name, r]) => [name, r.left, r.right, r.height])"""


def looks(page: Any) -> str:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(200)
        assert page.evaluate(FAINT) == [], (scheme, page.evaluate(FAINT))
    for layers in ("12, 12, 12, 12", "8, 8", ""):
        if page.locator("#settings-part").get_attribute("open") is None:
            page.click("#settings-part summary")
        page.get_by_label("Hidden layers").fill(layers)
        page.get_by_label("Hidden layers").blur()
        count = sum(map(int, layers.replace(",", " ").split())) + 3
        wait(page, "(n) => document.querySelectorAll('.cell').length === n", count)
        page.locator(".cell").last.click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), layers
        assert page.evaluate(CUT_OFF) == [], page.evaluate(CUT_OFF)
    return "text has contrast, nothing is cut off"


def motion_is_reduced(page: Any) -> str:
    page.wait_for_selector("#graph svg.flowing")
    assert page.evaluate("document.getAnimations().length") == 0
    opacities = (
        "[...new Set([...document.querySelectorAll('#graph .arrives')].map((e) => getComputedStyle(e).opacity))]"
    )
    assert page.evaluate(opacities) == ["1"]
    return "nothing moves, all grads are there"


CHECKS = [it_trains, a_neuron_has_a_graph, settings_are_used, bad_settings_are_refused, errors_of_programs_are_shown]
CHECKS += [edited_programs_run, keyboard_and_screen_reader, looks]


VISITS = [
    ({"viewport": WIDE}, CHECKS),
    ({"viewport": PHONE, "reduced_motion": "reduce"}, [motion_is_reduced, looks]),
]


def main() -> None:
    with play.wasm.chromium("play-test", play.SITE) as (browser, address):
        for options, checks in VISITS:
            with opened(browser, address, **options) as page:
                for check in checks:
                    start = time.monotonic()
                    said = check(page)
                    print(f"{check.__name__.replace('_', ' ')}: {said} ({time.monotonic() - start:.0f} s)", flush=True)
        print(f"Chromium {browser.version}: all passed")


if __name__ == "__main__":
    main()

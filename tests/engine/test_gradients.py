"""`micrograd.grad`: values, what it leaves alone, and its errors. Derivatives of derivatives are in
test_second_derivatives.py."""

from __future__ import annotations

import random
import threading

import pytest

import micrograd
from helpers import FAIL_IN_TURN, OF_A_LIST, bits, linux, posix
from micrograd import MLP, Value, functional, grad


def network_loss(seed=1337, samples=4):
    random.seed(seed)
    model = MLP(3, [4, 4, 1])
    X = [[random.uniform(-2, 2) for _ in range(3)] for _ in range(samples)]
    loss = sum(((model(x) - random.choice([1.0, -1.0])) ** 2 for x in X), Value(0.0))
    return model.parameters(), loss


def all_behind(value):
    order, todo = {}, [value]
    while todo:
        v = todo.pop()
        if v not in order:
            order[v] = None
            todo += v._children
    return list(order)


# ---- Values ----------------------------------------------------------------------------------------------------------


def test_gradients_of_a_network_have_the_bits_of_backward():
    params, loss = network_loss()
    ours = grad(loss, params)
    loss.backward()
    assert [bits(g) for g in ours] == [bits(p.grad) for p in params]


@pytest.mark.parametrize("name", OF_A_LIST)
def test_gradients_of_functional_have_the_bits_of_backward(name):
    leaves = [Value(x) for x in (0.3, -1.2, 0.7)]
    loss = OF_A_LIST[name]([x * x + y for x, y in zip(leaves, leaves[1:] + leaves[:1])]) * 3.0
    loss = loss + leaves[0] * leaves[1] * leaves[2]
    ours, again = grad(loss, leaves), [g.data for g in grad(loss, leaves, create_graph=True)]
    loss.backward()
    assert [bits(g) for g in ours] == [bits(x.grad) for x in leaves]
    assert again == pytest.approx(ours, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("seed", range(40))
def test_gradients_of_random_graphs_have_the_bits_of_backward(seed):
    draw = random.Random(seed)
    pool = [Value(draw.uniform(0.5, 1.5)) for _ in range(4)]
    leaves = pool[:]
    for _ in range(30):
        a, b, c = draw.choices(pool, k=3)
        pool.append(
            draw.choice(
                [
                    lambda a, b, c: a * b,
                    lambda a, b, c: a - c,
                    lambda a, b, c: (a + 1.5).sigmoid() / (c.tanh() + 2.0),
                    lambda a, b, c: functional.dot([a, b], [c, a], bias=b),
                    lambda a, b, c: functional.linear([a, b], [[c, a], [b, b]])[1].tanh(),
                    lambda a, b, c: 2.0 - a * 3.0,
                ]
            )(a, b, c).tanh()
        )
    loss = functional.sum(pool[-6:])
    inputs = [*leaves, pool[9], pool[20]]
    ours = grad(loss, inputs, allow_unused=True)
    values = grad(loss, inputs, create_graph=True, allow_unused=True)
    loss.backward()
    for x, g, v in zip(inputs, ours, values):
        assert (g is None) == (v is None)
        if g is not None:
            assert bits(g) == bits(x.grad)
            assert v.data == pytest.approx(g, rel=1e-12, abs=1e-14)
        else:
            assert x.grad == 0.0


def test_one_input_gives_one_result_and_a_list_a_list_in_its_order():
    x, y = Value(2.0), Value(5.0)
    z = x * y
    assert grad(z, x) == 5.0
    assert type(grad(z, x)) is float
    assert grad(z, [y, x]) == [2.0, 5.0]
    assert grad(z, (y, x)) == (2.0, 5.0)
    assert grad(z, (v for v in (y, x, y))) == [2.0, 5.0, 2.0]
    assert grad(z, []) == []
    assert type(grad(z, x, create_graph=True)) is Value


def test_inputs_may_be_results_and_the_output_itself():
    x = Value(3.0)
    y = x * x
    z = y * x
    assert grad(z, [x, y, z]) == [27.0, 3.0, 1.0]
    assert [g.data for g in grad(z, [x, y, z], create_graph=True)] == [27.0, 3.0, 1.0]
    assert grad(x, x) == grad(x, x, create_graph=True).data == 1.0


def test_a_list_of_outputs_stands_for_its_sum():
    x, y = Value(3.0), Value(2.0)
    assert grad([x * y, x * x, y], [x, y]) == [8.0, 4.0]


def test_it_takes_no_derivative_that_the_inputs_do_not_need():
    x, zero = Value(3.0), Value(0.0)
    y = zero.sqrt()
    assert grad(x * y, [x, y]) == [0.0, 3.0]
    assert [g.data for g in grad(x * y, [x, y], create_graph=True)] == [0.0, 3.0]
    with pytest.raises(ZeroDivisionError):
        grad(x * y, zero)


# ---- Unused inputs, errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_unused_inputs(create_graph):
    x, other = Value(2.0), Value(1.0)
    y = x * x
    with pytest.raises(RuntimeError, match="not computed from the input: allow_unused=True gives None"):
        grad(y, other, create_graph)
    with pytest.raises(RuntimeError, match="not computed from input 1"):
        grad(y, [x, y * x], create_graph)
    found = grad(y, [other, x], create_graph, allow_unused=True)
    assert found[0] is None
    assert getattr(found[1], "data", found[1]) == 4.0


@pytest.mark.parametrize("create_graph", [False, True])
def test_inputs_computed_from_the_output_pass_nothing_on(create_graph):
    """Their derivatives by the output are not taken: at 0, that of the root raises, and 0 * inf is NaN."""
    x, other = Value(0.0), Value(5e-324)
    for y in (x.sqrt(), x * other + other, other.log() * x, MLP(2, [2])([x, other])[1]):
        found = grad(x, [y, other, x], create_graph, allow_unused=True)
        assert found[:2] == [None, None]
        assert getattr(found[2], "data", found[2]) == 1.0


@pytest.mark.parametrize("create_graph", [False, True])
def test_an_input_behind_derivatives_of_0_alone_is_used(create_graph):
    x = Value(2.0)
    shift = functional.softmax([x])[0]  # of one value: always 1
    found = grad(shift, x, create_graph)
    assert getattr(found, "data", found) == 0.0
    found = grad(x**0, x, create_graph)
    assert getattr(found, "data", found) == 0.0


def test_arguments_that_are_no_values():
    x = Value(1.0)
    with pytest.raises(TypeError, match=r"output of grad\(\) must be a Value or a list of them, not 'float'"):
        grad(1.0, x)
    with pytest.raises(TypeError, match=r"output of grad\(\) must be a Value, not 'int'"):
        grad([x, 1], x)
    with pytest.raises(TypeError, match=r"input of grad\(\) must be a Value, not 'str'"):
        grad(x, [x, "x"])
    with pytest.raises(TypeError, match=r"inputs of grad\(\) must be a Value or a list of them, not 'float'"):
        grad(x, 1.0)


def test_backward_names_grad_instead_of_create_graph():
    x = Value(1.0)
    with pytest.raises(TypeError, match=r"micrograd\.grad\(output, inputs, create_graph=True\)"):
        (x * x).backward(create_graph=True)
    assert x.grad == 0.0
    (x * x).backward(create_graph=False)
    assert x.grad == 2.0


# ---- What it leaves alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("passes", [0, 1, 2])
def test_no_grad_changes(create_graph, passes):
    params, loss = network_loss()
    for _ in range(passes):
        loss.backward()
    twin_params, twin = network_loss()
    for _ in range(passes):
        twin.backward()
    found = grad(loss, params, create_graph)
    assert [p.grad for p in params] == [p.grad for p in twin_params]
    loss.backward()
    twin.backward()
    assert [p.grad for p in params] == [p.grad for p in twin_params]
    assert [v.grad for v in all_behind(loss)] == [v.grad for v in all_behind(twin)]
    del found


def test_a_result_is_no_node_of_the_graph():
    """d(a b)/da is b, but its grad is its own."""
    a, b = Value(2.0), Value(3.0)
    b.grad = 7.0
    da, both = grad(a * b, a, create_graph=True), grad(a + b, [a, b], create_graph=True)
    assert da is not b
    assert both[0] is not both[1]
    da.backward()
    assert (da.data, da.grad, b.grad) == (3.0, 1.0, 8.0)


# ---- Subclasses, irregular graphs, threads, size ---------------------------------------------------------------------


class Sub(Value):
    pass


def test_subclasses():
    x, y = Sub(2.0), Value(3.0)
    z = x * y + x
    assert grad(z, [x, y]) == [4.0, 2.0]
    d = grad(z, x, create_graph=True)
    assert (d.data, grad(d, y)) == (4.0, 1.0)


def test_a_graph_whose_parents_were_seen():
    """Materialized products are newer than their children: the order is depth-first."""
    params, loss = network_loss()
    expected = grad(loss, params)
    all_behind(loss)
    assert grad(loss, params) == pytest.approx(expected, rel=1e-14)
    values = grad(loss, params, create_graph=True)
    assert [v.data for v in values] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("create_graph", [False, True])
def test_deep_graphs(create_graph):
    x = Value(1.0)
    y = x
    for _ in range(300_000):
        y = y * 0.99999 + x
    found = grad(y, x, create_graph)
    y.backward()
    assert getattr(found, "data", found) == pytest.approx(x.grad)
    if create_graph:
        del y
        z = x
        for _ in range(100_000):
            z = (z * z) * 0.5
        d = grad(z, x, create_graph=True)
        assert grad(d, x) == pytest.approx(0.0, abs=1e-9)


def test_threads():
    """Passes of several threads through the same leaves and nodes."""
    params, loss = network_loss(samples=30)
    expected = grad(loss, params)
    failures = []

    def work():
        for _ in range(30):
            found = grad(loss, params)
            values = grad(loss, params, create_graph=True)
            if found != expected or [v.data for v in values] != pytest.approx(expected, rel=1e-12):
                failures.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [p.grad for p in params] == [0.0] * len(params)


def test_it_is_the_packages():
    assert micrograd.grad is grad


# ---- In processes of their own ---------------------------------------------------------------------------------------

SECOND = """
import random
from micrograd import MLP, functional, grad

random.seed(1)
model = MLP(2, [3, 1])
params = model.parameters()

def second():
    x = [Value(0.5), Value(-1.0)]
    loss = (model(x) - 1.0) ** 2 + functional.cross_entropy([x[0] * x[1], x[0].relu(), x[1].exp()], 1)
    firsts = grad(loss, [*x, *params], create_graph=True)
    return grad(functional.sum(firsts), [*x, *params])
"""


@linux
def test_memory_is_flat_over_passes(check):
    check(
        SECOND
        + """
for _ in range(500):
    second()
before = rss()
for _ in range(10_000):
    second()
grown = rss() - before
assert grown < 2**20, f"{grown} bytes more"
"""
    )


def test_each_allocation_may_fail(check):
    pytest.importorskip("_testcapi")
    check(
        SECOND
        + FAIL_IN_TURN
        + """
expected = second()
failures = fail_in_turn(second)
print(failures, "failures")
assert failures > 30
assert second() == expected
assert [p.grad for p in params] == [0.0] * len(params)
still_works()
"""
    )


@pytest.mark.slow
@posix
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_signal_handler_may_take_gradients(check, create_graph):
    """Its passes go over the same nodes, and it materializes some, reading parents. What it raises ends the pass."""
    check(
        f"""
        import random
        from micrograd import MLP, grad

        random.seed(1)
        model = MLP(2, [8, 8, 1])
        params = model.parameters()
        loss = sum(((model([0.001 * i, 1.0]) - 0.5) ** 2 for i in range(6000)), Value(0.0))
        expected = grad(loss, params)
        calls = []

        def handle(signum, frame):
            calls.append(grad(loss._children[0], params, allow_unused=True))
            list(loss._prev)[0].backward()

        signal.signal(signal.SIGALRM, handle)
        for i in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.003 * i)
            found = grad(loss, params, {create_graph})
            found = [getattr(g, "data", g) for g in found]
            assert max(abs(a - b) for a, b in zip(found, expected)) < 1e-8, i
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert calls

        def stop(signum, frame):
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, stop)
        x = Value(1.0)
        y = chain(x, 10**7 if not {create_graph} else 10**6)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            while True:
                grad(y, x, {create_graph})
        except KeyboardInterrupt:
            pass
        assert x.grad == 0.0
        still_works()
        """
    )

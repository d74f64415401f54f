"""Reading `_prev` of a neuron's nodes in the middle of a backward pass changes nothing."""

from __future__ import annotations

import pytest

from helpers import posix

READS = [
    "y._prev",
    "y._children",
    "y._backward",
    "y._local_grads",
    "list(trace(y))",
    "t = threading.Thread(target=lambda: y._prev); t.start(); t.join()",
]


@pytest.mark.parametrize("read", READS)
def test_reading_the_nodes_of_a_neuron_in_the_middle_of_a_pass_changes_nothing(check, read):
    check(
        f"""
        import random
        from micrograd import MLP
        from micrograd.viz import trace

        def gradients(read, own):
            random.seed(1)
            model = MLP(2, [3, 3, 1])
            x = [Value(0.5), Value(-1.0)]
            h = model(x)
            y, others = h, [model([h, x[1]]), model.layers[0](x)[0]]
            out = Value(2 * y.data, (y,), "double")
            def step():
                read(y)
                for other in others:
                    read(other)
                y.grad += 2 * out.grad
            out._backward = step
            if own:
                builtin = y._propagate
                def around():
                    read(y)
                    builtin()
                y._backward = around
            root = out + others[0] * y + others[1]
            passes = []
            for _ in range(3):
                root.backward()
                passes.append([p.grad for p in [*model.parameters(), *x]])
            root.zero_grad()
            root.backward()
            passes.append([p.grad for p in [*model.parameters(), *x]])
            return passes

        def read(y):
            {read}

        for own in (False, True):
            plain = gradients(lambda y: None, own)
            after = gradients(read, own)
            assert any(plain[0])
            for a, b in zip(plain, after):
                assert all(abs(p - q) <= 1e-12 * (1 + abs(p)) for p, q in zip(a, b)), (own, a, b)
        """
    )


@posix
@pytest.mark.parametrize("where", ["the handler", "another thread"])
def test_reading_the_nodes_of_neurons_in_the_middle_of_an_ordered_pass_changes_nothing(check, where):
    check(
        f"""
        import random
        from micrograd import MLP

        def build():
            random.seed(1)
            model = MLP(2, [3, 1])
            x = [Value(0.5), Value(-1.0)]
            outputs = [model(x)]
            y = outputs[0]
            for i in range(300):
                y = chain(y * 0.5, 1000)
                outputs.append(model([y, x[1]]))
                y = y + outputs[-1]
            return model, x, outputs, y

        def read():
            counts.append(sum(len(o._prev) for o in outputs))
            o = outputs[150]._prev

        def handler(signum, frame):
            if not counts:
                if {where == "the handler"}:
                    read()
                else:
                    thread = threading.Thread(target=read)
                    thread.start()
                    thread.join()

        model, x, outputs, y = build()
        y.backward()
        plain = [p.grad for p in [*model.parameters(), *x]]
        for attempt in range(50):
            model, x, outputs, y = build()
            counts = []
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.0003 * (1 + attempt % 5))
            y.backward()
            during = bool(counts)
            signal.setitimer(signal.ITIMER_REAL, 0)
            mine = [p.grad for p in [*model.parameters(), *x]]
            assert all(abs(p - q) <= 1e-9 * (1 + abs(p)) for p, q in zip(plain, mine)), (plain, mine)
            if during:
                break
            time.sleep(0.01)
        assert during
        still_works()
        """
    )

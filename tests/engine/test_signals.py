"""Ctrl-C and signal handlers in the middle of backward()."""

from __future__ import annotations

import pytest

from helpers import posix


@pytest.mark.slow
@posix
@pytest.mark.parametrize("walk", ["ordered", "general"])
def test_ctrl_c_in_backward(check, walk):
    """A child of fork sends it, 20 ms into the pass. The contract is 100 ms; a busy machine gets as much again, and
    further goes where it kept the child waiting until the pass was over."""
    check(
        f"""
        def interrupt():
            start, sent = os.pipe(), os.pipe()
            if os.fork() == 0:
                os.read(start[0], 1)
                time.sleep(0.02)
                os.write(sent[1], repr(time.monotonic()).encode())
                os.kill(os.getppid(), signal.SIGINT)
                os._exit(0)
            try:
                os.write(start[1], b".")
                y.backward()
                time.sleep(10)
            except KeyboardInterrupt:
                caught = time.monotonic()
            os.wait()
            return caught - float(os.read(sent[0], 100))

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        x = Value(1.0)
        y = chain(user_op(x) if {walk!r} == "general" else x, 10**7)
        for _ in range(5):
            late = interrupt()
            print(late * 1000, "ms, grad", x.grad)
            if x.grad == 0.0 and late < 0.2:
                break
            y.zero_grad()
        assert x.grad == 0.0, "it was at its end"
        assert late < 0.2, f"after {{late * 1000:.0f}} ms"
        still_works()
        y.zero_grad()
        y.backward()
        assert x.grad == 1.0
        """
    )


HANDLER = """
import random
calls = []

def handle(signum, frame):
    calls.append(walking)
    work()
    # Set again here, so that a slow machine is done before the next signal; to a random time, so that some hit a walk.
    signal.setitimer(signal.ITIMER_REAL, random.uniform(pause / 10, pause))

def sweep():
    global walking
    x = Value(1.0)
    y = chain(x, 10**6)
    for _ in range(200):
        x.grad = 0.0
        y.zero_grad()
        walking = True
        y.backward()
        walking = False
        assert x.grad == 1.0, x.grad
        if sum(calls) > 20:
            break
    assert any(calls), "no signal came in a walk"

walking = False
pause = 0.005
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, pause)
try:
    sweep()
finally:
    pause = 0
    signal.setitimer(signal.ITIMER_REAL, pause)
"""


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    "work",
    [
        "still_works()",
        "x = Value(3.0); z = chain(x, 5000); z.backward(); assert x.grad == 1.0",
        "x = Value(3.0); z = user_op(x) * 2.0; z.backward(); assert x.grad == 2.0",
        "x = Value(3.0); z = Value(1.0, (x, x), (1.0, 2.0)); z.backward(); assert x.grad == 3.0",
        "class Sub(Value): pass\n    x = Sub(3.0); z = x * x; z.backward(); assert x.grad == 6.0",
        "gc.collect(); made = [Value(1.0) + 1.0 for _ in range(5000)]; del made",
    ],
)
def test_a_signal_handler_may_use_the_engine(check, work):
    check(f"def work():\n    {work}\n{HANDLER}\nstill_works()")


@posix
def test_a_signal_handler_may_walk_a_hidden_layer_that_the_walk_comes_to(check):
    """The walk runs signal handlers where it goes on to the slab that the network is in: its outputs are marked, and
    then the handler walks it. Where its neurons have nodes from the start, the bits are the same."""
    check(
        """
        import random
        from micrograd import nn

        def handle(signum, frame):
            global calls
            if walking:
                calls += 1
                side.backward()

        def grads(shown, interrupt):
            global side, walking
            for _ in range(1000):
                side = None  # all slabs are empty: nodes come to stand where they stood before
                calls_before = calls
                model.zero_grad()
                outs = model([0.7])  # slots for 300 hidden neurons, 300 nodes
                if shown:
                    outs[0].zero_grad()
                side = outs[0] * 0.5
                y = chain(sum(outs), 64 * 1023 - 600)
                if interrupt:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001)
                walking = True
                y.backward()
                walking = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                if calls - calls_before == interrupt:
                    return [p.grad for p in model.parameters()]
                del outs, y
            raise AssertionError("no signal came in a walk")

        calls, walking, side = 0, False, None
        signal.signal(signal.SIGALRM, handle)
        random.seed(1)
        model = nn.MLP(1, [300, 300])
        interrupted = grads(False, True)
        assert interrupted == grads(True, True)
        assert interrupted != grads(True, False) == grads(False, False)
        """
    )


@posix
def test_an_exception_in_a_signal_handler_ends_the_walk(check):
    check(
        """
        def handle(signum, frame):
            raise LookupError

        signal.signal(signal.SIGALRM, handle)
        x = Value(1.0)
        y = chain(x, 3 * 10**6)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            y.backward()
        except LookupError:
            pass
        else:
            raise AssertionError
        y.zero_grad()
        y.backward()
        assert x.grad == 1.0
        still_works()
        """
    )

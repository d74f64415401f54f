"""Import, reload, threads at the interpreter's end, fork, spawn, subinterpreters: each in a process of its own."""

from __future__ import annotations

import os

import pytest

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
# From 3.12 on, os.fork() in a process with threads warns.
QUIET = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"


def test_a_reload_keeps_the_classes(check):
    """The compiled modules stay; Python modules run again on top of them."""
    check(
        """
        import importlib, pickle
        import micrograd, micrograd.nn, micrograd.optim, micrograd.functional, micrograd.compiler
        model = micrograd.nn.MLP(2, [2, 1])
        for module in (micrograd.functional, micrograd.nn, micrograd.optim, micrograd.compiler, micrograd):
            importlib.reload(module)
        assert micrograd.Value is Value
        out = model([1.0, 2.0])
        out.backward()
        f = micrograd.compile(lambda x: x * 2.0)
        assert f.sum([1.0, 2.0]).data == 6.0
        micrograd.nn.MLP(2, [2, 1])([1.0, 2.0]).backward()
        still_works()
        """
    )


def test_all_modules_may_be_imported_anew(check):
    """Removed from sys.modules and imported again: the package works, or says why it cannot be imported twice."""
    check(
        """
        x = Value(2.0)
        for name in [name for name in sys.modules if name.partition(".")[0] == "micrograd"]:
            del sys.modules[name]
        try:
            import micrograd
        except ImportError as error:
            print(error)
        else:
            y = micrograd.Value(3.0)
            z = y * y
            z.backward()
            assert y.grad == 6.0
        w = x * x
        w.backward()
        assert x.grad == 4.0
        still_works()
        """
    )


@pytest.mark.parametrize("daemon", [True, False])
def test_the_interpreter_ends_while_threads_work(check, daemon):
    """Eager passes, compiled calls with threads of their own, and graphs that are still alive."""
    check(
        f"""
        import micrograd
        f = micrograd.compile(lambda x: x.tanh().exp(), threads=2)
        f.map([1.0])
        started = threading.Barrier(5)
        rows = [0.1] * 300_000

        def eager():
            x = Value(1.0)
            started.wait(60)
            for _ in range(10):
                y = chain(x, 50_000)
                y.backward()

        def compiled():
            started.wait(60)
            for _ in range(5):
                f.map(rows)

        kept = chain(Value(1.0), 1000)
        kept.keep = kept
        for target in (eager, compiled) * 2:
            threading.Thread(target=target, daemon={daemon}).start()
        started.wait(60)
        """
    )


def test_values_are_used_while_the_interpreter_ends(check):
    check(
        """
        import atexit, micrograd

        class End:
            def __init__(self):
                self.f = micrograd.compile(lambda x: x * x)
                self.f(1.0)

            def __del__(self):
                x = Value(3.0)
                (x * x).backward()
                assert x.grad == 6.0
                assert self.f(2.0).data == 4.0

        sys.kept = End()
        kept = Value(1.0)
        kept.end = End()
        atexit.register(still_works)
        """
    )


@forks
def test_a_fork_while_threads_compute(check):
    """Other threads are in backward passes, releases and compiled calls at that moment; the child's engine works."""
    check(
        QUIET
        + """
import micrograd
f = micrograd.compile(lambda x: x.tanh().exp(), threads=2)
f.map([1.0])
rows, stop = [0.1] * 50_000, False

def eager():
    x = Value(1.0)
    while not stop:
        user_op(chain(x, 20_000)).backward()

def compiled():
    while not stop:
        f.map(rows)

threads = [threading.Thread(target=target) for target in (eager, compiled)]
for thread in threads:
    thread.start()
try:
    for _ in range(20):
        child = os.fork()
        if not child:
            try:
                still_works()
                chain(Value(1.0), 50_000).backward()
                assert f.map([0.0]).tolist() == [1.0]
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
finally:
    stop = True
    for thread in threads:
        thread.join()
still_works()
"""
    )


@forks
def test_a_fork_in_a_finalizer(check):
    """`__del__` of what a dying graph holds forks: the rest of the graph is released in both processes."""
    check(
        """
        class Forks:
            def __del__(self):
                global child
                child = os.fork()

        def graph(end):
            below = Sentinel()
            seen.append(weakref.ref(below))
            x = Value(1.0)
            x.keep = below
            middle = chain(x, 1000)
            middle.end = end
            return chain(middle, 1000)

        seen, child = [], None
        y = graph(Forks())
        del y
        assert child is not None
        try:
            assert seen[0]() is None
            still_works()
        except BaseException:
            if not child:
                os._exit(1)
            raise
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )


@pytest.mark.slow
def test_a_spawned_process_gets_values_modules_and_compiled_functions(isolated, tmp_path):
    program = tmp_path / "spawning.py"
    program.write_text(
        """
import multiprocessing
import micrograd
from micrograd import Value, nn

def work(value, model, f, conn):
    value.backward()
    conn.send((value.data, model([1.0, 2.0]).data, f.sum([1.0, 2.0]).data))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    x = Value(3.0)
    f = micrograd.compile(lambda x: x * x)
    model = nn.MLP(2, [2, 1])
    expected = (9.0, model([1.0, 2.0]).data, f.sum([1.0, 2.0]).data)
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(x * x, model, f, theirs))
    process.start()
    assert ours.poll(100)
    assert ours.recv() == expected
    process.join()
    assert process.exitcode == 0
""",
        encoding="utf-8",
    )
    isolated(f"import runpy, sys; sys.argv = [{str(program)!r}]; runpy.run_path({str(program)!r}, run_name='__main__')")


SUBINTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        raise SystemExit("no subinterpreters")

IMPORT = '''
try:
    import micrograd
    x = micrograd.Value(2.0)
    (x * x).backward()
except ImportError:
    pass
else:
    raise AssertionError("imported in a subinterpreter")
'''

def in_another(source):
    other = interpreters.create()
    try:
        failed = interpreters.run_string(other, source)  # raises, or from 3.13 on returns what was raised
        assert failed is None, failed
    finally:
        interpreters.destroy(other)
"""


@pytest.mark.parametrize("main_first", [True, False])
def test_a_subinterpreter_does_not_break_the_main_one(isolated, main_first):
    """The engine's state is the process's: a subinterpreter is refused with ImportError, also if it is the first."""
    main = "import micrograd; x = micrograd.Value(3.0); y = x * x\n"
    use = """
y.backward()
assert x.grad == 6.0
f = micrograd.compile(lambda a: a * x)
assert f.sum([1.0, 2.0]).data == 9.0
from micrograd import nn
nn.MLP(2, [2, 1])([1.0, 2.0]).backward()
import gc
gc.collect()
"""
    twice = "in_another(IMPORT)\nin_another(IMPORT)\n"
    out = isolated(SUBINTERPRETERS + (main + twice if main_first else twice + main) + twice + use)
    print(out)

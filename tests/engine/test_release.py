"""Values that lose their last reference: in deep chains, in other threads, with destructors that run code."""

from __future__ import annotations

import pytest

from helpers import linux


def test_attributes_outlive_their_value(check):
    check(
        """
        class Sub(Value):
            pass

        for kind in (Value, Sub):
            x = kind(1.0)
            x._backward = print
            for key in list(vars(x)):
                vars(x)[key] = 2**100
            assert x._backward is print
            x.note = 1
            attributes, entries = vars(x), list(vars(x).items())
            attributes.clear()
            gc.collect()
            assert x._backward is print
            del x
            gc.collect()
            attributes["more"] = Value(2.0)
            gc.collect()
            assert list(attributes) == ["more"]
            assert type(copy.copy(attributes)) is dict and copy.deepcopy(attributes)["more"].data == 2.0
            for function in (attributes.update, attributes.clear, attributes.__init__):
                function()
            del attributes
            gc.collect()
        """.replace("class Sub", "import copy\n\n        class Sub", 1)
    )


@pytest.mark.parametrize("op", ["x * 2.0", "Value(1.0, (x,), [2.0])", "user_op(x)", "Layer(1, 1)([x])"])
def test_parents_that_a_value_gives_up_go_at_once(check, op):
    check(
        f"""
        from micrograd.nn import Layer

        x = Value(1.0) * 3.0
        x.keep = Sentinel()
        alive = weakref.ref(x.keep)
        y = {op}
        del x
        y._backward = print  # in place of one that holds x
        assert alive() is not None
        y.__init__(5.0)
        assert alive() is None
        assert (y.data, y._children) == (5.0, ())
        """
    )


def test_attributes_that_outlive_their_value_belong_to_no_other(check):
    """Its slot goes to another Value, which the function alone holds."""
    check(
        """
        def outlived():
            x = Value(1.0)
            x.note = "kept"
            x._backward = lambda held=[]: held
            attributes, held = vars(x), x._backward.__defaults__[0]
            del x
            held.extend(Value(0.0) for _ in range(2000))
            del held
            gc.collect()
            return attributes["note"]

        assert outlived() == "kept"
        """
    )


def test_a_function_replaced_by_one_that_its_end_assigns(check):
    check(
        """
        class Again:
            def __init__(self, y):
                self.y = y

            def __call__(self):
                pass

            def __del__(self):
                if len(ends) < 100:
                    ends.append(self.y._backward)
                    self.y._backward = Again(self.y)

        ends = []
        y = Value(1.0) * 2.0
        y._backward = Again(y)
        y._backward = print
        assert ends == [print] and type(y._backward) is Again
        del y._backward
        assert type(y._backward) is Again and len(ends) == 2
        """
    )


@pytest.mark.parametrize("count", [1, 20])
def test_the_dead_go_while_other_threads_are_in_slow_ends(check, count):
    check(
        f"""
        class Slow:
            def __del__(self):
                inside.release()
                leave.wait(60)

        def gone():
            sentinel = Sentinel()
            alive = weakref.ref(sentinel)
            v = chain(Value(2.0), 100)
            v.keep = sentinel
            del sentinel, v
            return alive() is None

        def drop(hold):
            v = Value(1.0)
            hold(v)

        class Sub(Value):
            pass

        def as_attribute(v):
            v.slow = Slow()

        def behind_a_subclass(v):
            sub = Sub(1.0)
            sub.slow = Slow()
            (sub * 2.0 + v).exp()

        for hold in (as_attribute, behind_a_subclass):
            inside, leave = threading.Semaphore(0), threading.Event()
            threads = [threading.Thread(target=drop, args=(hold,)) for _ in range({count})]
            for thread in threads:
                thread.start()
                assert inside.acquire(timeout=30)
            assert gone()
            if hasattr(os, "fork"):
                child = os.fork()
                if not child:
                    os._exit(0 if gone() else 1)
                assert os.waitpid(child, 0)[1] == 0
            leave.set()
            for thread in threads:
                thread.join()
            assert gone()
        still_works()
        """
    )


@linux
def test_the_dead_go_in_the_middle_of_their_own_thread(check):
    check(
        """
        class End:
            def __del__(self):
                for _ in range(50):
                    chain(Value(1.0), 10**4)
                grown.append(rss() - before)

        chain(Value(1.0), 10**4)
        before, grown = rss(), []
        v = Value(1.0)
        v.end = End()
        del v
        assert grown[0] < 8 << 20, grown
        """
    )


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    "link",
    [
        "y = Sub(1.0, (y,), (1.0,))",
        "y = Sub(1.0, (y,))",
        "y = Sub(1.0, (y,), (1.0,)) + 1.0",
        "y = user_op(y)",
        "y = user_op(y) + 1.0",
        "y = Value(1.0, (y, y), (1.0, 1.0))",
        "z = Value(1.0); z.before = y; y = z",
        "z = y + 1.0; z.before = [y]; y = z",
        "z = Sub(1.0); z.before = y; y = z",
    ],
)
@pytest.mark.parametrize("where", ["main thread", "128 KB thread"])
def test_deep_chains_of_any_kind_free(check, link, where):
    check(
        f"""
        class Sub(Value):
            pass

        def work():
            y = Value(1.0)
            for _ in range(10**5):
                {link}
            y.backward()
            y.zero_grad()
            del y
            gc.collect()
            gc.collect()
            still_works()
            done.append(True)

        done = []
        run_in({where!r}, work)
        assert done
        gc.disable()
        os._exit(0)
        """
    )


def test_finalizers_in_finalizers(check):
    """Each `__del__` holds the next Value: from a depth on, what dies waits for the outer ones."""
    check(
        """
        class End:
            def __init__(self, held):
                self.held = held

            def __del__(self):
                ended.append(self.held)
                self.held = ended.pop() is None

        v, alive, ended = None, [], []
        for _ in range(100):
            end, v = End(v), Value(1.0)
            v.end = end
            alive.append(weakref.ref(end))
        del v, end
        assert not [end for end in alive if end()]
        still_works()
        """
    )

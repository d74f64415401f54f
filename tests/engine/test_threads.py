"""Threads that compute on graphs of their own, and that share nodes one after the other."""

from __future__ import annotations


def test_threads_on_graphs_of_their_own(check):
    check(
        """
        sys.setswitchinterval(1e-5)
        wrong = []

        def work(seed):
            for i in range(100):
                x = Value(float(seed))
                y = x
                for j in range(300):
                    y = y * 0.5 + x if j % 7 else user_op(y)
                y.backward()
                first = x.grad
                x.grad = 0.0
                y.zero_grad()
                y.backward()
                if x.grad != first or expected.setdefault(None, first) != first:
                    wrong.append((seed, i, x.grad, first))

        expected = {}
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[:3]
        gc.collect()
        still_works()
        """
    )


def test_nodes_of_one_thread_are_freed_by_another(check):
    """A free-threaded CPython counts the references of the thread that made an object apart from those of others."""
    check(
        """
        def made(count):
            x = Value(2.0)
            x.keep = Sentinel()
            kept.append(weakref.ref(x.keep))
            loss = chain(x * x, count) * x
            loss.backward()
            assert x.grad == 3 * 4.0 + count
            handed_over.append((x, loss) if count % 2 else (loss,))

        kept, handed_over = [], []
        for count in 1, 2, 1000, 5001:
            thread = threading.Thread(target=made, args=(count,))
            thread.start()
            thread.join()
            x, *loss = handed_over[-1]
            loss = loss[0] if loss else x
            loss = (loss + x) * x
            loss.zero_grad()
            loss.backward()
        del x, loss
        thread = threading.Thread(target=handed_over.clear)
        thread.start()
        thread.join()
        gc.collect()
        assert [alive() for alive in kept] == [None] * 4
        before = rss()
        for _ in range(20):
            y = chain(Value(1.0), 10**5)
            box = [y]
            del y
            thread = threading.Thread(target=box.clear)
            thread.start()
            thread.join()
        assert rss() - before < 10 * 2**20, rss() - before
        still_works()
        """
    )


def test_modes_traces_and_finalizers_of_threads_end_in_any_order(check):
    """Lists of what threads are in, the newest first: the older of two ends first."""
    check(
        """
        import micrograd

        def older_ends_first(work):
            def older():
                work(lambda: (begun.set(), end.wait(60)))

            def newer():
                end.set()
                thread.join()

            begun, end = threading.Event(), threading.Event()
            thread = threading.Thread(target=older)
            thread.start()
            assert begun.wait(60)
            work(newer)

        def in_a_mode(meanwhile):
            with micrograd.no_grad():
                meanwhile()
                assert not micrograd.is_grad_enabled()

        def in_a_trace(meanwhile):
            f = micrograd.compile(lambda x: x * 2.0 if meanwhile() else x * 2.0)
            assert f(1.5).data == 3.0

        def in_a_finalizer(meanwhile):
            class End:
                def __del__(self):
                    meanwhile()
                    ends.append(chain(Value(1.0), 100).data)

            v = Value(1.0)
            v.end = End()

        ends = []
        for work in (in_a_mode, in_a_trace, in_a_finalizer):
            older_ends_first(work)
            assert micrograd.is_grad_enabled()
            still_works()
        assert ends == [101.0, 101.0]
        """
    )

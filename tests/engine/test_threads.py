"""Threads that compute on graphs of their own."""

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

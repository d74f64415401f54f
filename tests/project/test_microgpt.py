"""examples/microgpt.py: the three steps give the same losses, step (a) also on micrograd 0.1.0; and what it prints."""

from __future__ import annotations

import math
import random
import re
import sys

import pytest

from helpers import ROOT, load

EXAMPLE = ROOT / "examples" / "microgpt.py"
WORDS = EXAMPLE.with_name("words.txt")

pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not part of an installed package")


@pytest.fixture(scope="module")
def microgpt():
    return load(EXAMPLE, "microgpt")


@pytest.fixture
def words(microgpt):
    random.seed(3)
    return microgpt.Words(WORDS.read_text().split())


def losses(microgpt, kind, words, steps, size=1):
    random.seed(5)
    return microgpt.train(getattr(microgpt, kind)(words.end + 1), words, steps, size)[0]


def with_exp_and_log(reference, monkeypatch):
    """The Value of micrograd 0.1.0 with the two ops that it lacks, as the lecture writes ops."""

    def unary(name, function, derivative):
        def op(self):
            out = reference.Value(function(self.data), (self,), name)

            def backward():
                self.grad += derivative(self.data, out.data) * out.grad

            out._backward = backward
            return out

        monkeypatch.setattr(reference.Value, name, op, raising=False)

    unary("exp", math.exp, lambda x, r: r)
    unary("log", math.log, lambda x, r: 1 / x)
    return reference.Value


def test_the_words():
    lines = WORDS.read_text().splitlines()
    assert 200 <= len(lines) <= 2000
    assert lines == sorted(set(lines))
    assert all(re.fullmatch("[a-z]{2,15}", line) for line in lines)


def test_documents(microgpt):
    words = microgpt.Words(["abba", "c" * 30])
    assert words.letters == ["a", "b", "c"]
    assert sorted(words.documents) == [[3, 0, 1, 1, 0, 3], [3, *[2] * microgpt.CONTEXT]]
    assert words.batch(1, 3) == [words.documents[i] for i in (1, 0, 1)]


def test_the_guide_quotes_the_program():
    def unindented(text):
        return "\n".join(line.strip() for line in text.splitlines() if line.strip())

    guide, program = (ROOT / "docs" / "microgpt.md").read_text(encoding="utf-8"), EXAMPLE.read_text(encoding="utf-8")
    quoted = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len(quoted) == 4
    for block in quoted:
        assert unindented(block) in unindented(program)
    assert f"{len(WORDS.read_text().split()):,} English names" in guide


def test_plain_values_and_functional_give_the_same_losses(microgpt, words):
    plain, functional = (losses(microgpt, kind, words, 20) for kind in ("Plain", "Functional"))
    assert functional == pytest.approx(plain, rel=0, abs=1e-9)
    assert plain[-1] < plain[0] - 0.1
    batches = [losses(microgpt, kind, words, 2, 3) for kind in ("Plain", "Functional")]
    assert batches[1] == pytest.approx(batches[0], rel=0, abs=1e-9)


@pytest.mark.slow
def test_plain_values_run_on_micrograd_from_pypi(microgpt, words, reference, monkeypatch):
    words.documents = [document[:5] for document in words.documents]
    ours = losses(microgpt, "Plain", words, 3)
    monkeypatch.setattr(microgpt, "Value", with_exp_and_log(reference, monkeypatch))
    assert losses(microgpt, "Plain", words, 3) == pytest.approx(ours, rel=0, abs=1e-9)


def test_compiled_gives_the_same_losses(microgpt, words):
    words.documents = list({len(document): document for document in words.documents if len(document) < 7}.values())
    assert len(words.documents) > 2
    found = microgpt.differences(words, 5, seed=5)
    assert len(found) == 10
    assert all(difference <= 1e-9 for difference in found)


def test_compiled_batches_are_those_of_functional(microgpt, words):
    words.documents = [document for document in words.documents if len(document) < 7]
    functional, compiled = (losses(microgpt, kind, words, 3, 4) for kind in ("Functional", "Compiled"))
    assert compiled == pytest.approx(functional, rel=0, abs=1e-9)


def test_it_prints_times_losses_and_words(microgpt, capsys):
    microgpt.main(["--step", "b", "--steps", "300"])
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bar where stderr is no terminal
    assert re.match(r"\(b\) documents a step: 1, ms a step: \d+\.\d+, speed: 1\.0\n", printed.out)
    assert 2.0 < float(re.search(r"last losses (\S+);", printed.out)[1]) < 2.9
    assert len(printed.out.splitlines()[-1].split()) > 6


def test_a_terminal_gets_a_progress_bar(microgpt, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    microgpt.main(["--step", "b", "--steps", "4"])
    shown = capsys.readouterr().err
    assert re.findall(r"step (\d) of 4", shown) == ["1", "2", "3"]
    assert f"[{'#' * 20}{'.' * 20}]" in shown
    assert shown.endswith("\r\033[K")


def test_words_of_a_file(microgpt, capsys, tmp_path):
    file = tmp_path / "words"
    file.write_text("ño\nño\n", encoding="utf-8")
    microgpt.main(["--words", str(file), "--step", "b", "--steps", "60"])
    assert "ño" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--batch", "0"], ["--words", "/nowhere"], ["--step", "d"]])
def test_bad_arguments_are_refused_by_name(microgpt, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        microgpt.main(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_the_check_fails_where_losses_differ(microgpt, capsys, monkeypatch):
    for difference, status in ((1e-12, 0), (1e-8, 1), (math.nan, 1)):
        monkeypatch.setattr(microgpt, "differences", lambda *_, d=difference: [0.0, d])
        with pytest.raises(SystemExit) as ended:
            microgpt.main(["--check"])
        assert int(ended.value.code) == status
    assert "in 100 steps the losses of (a), (b) and exact (c) differ by" in capsys.readouterr().out

"""The cases. Each module has `NAME` and `measure(rounds, quick)`, which gives a `harness.Result`."""

ALL = (
    "readme_loop",
    "readme_sgd",
    "moons",
    "gpt",
    "gpt_functional",
    "rnn",
    "one_op",
    "backward",
    "adam",
    "moons_compiled",
    "readme_compiled",
    "wide_compiled",
    "tanh_compiled",
    "gpt_compiled",
    "rnn_compiled",
    "conv",
    "threads",
    "tracing",
    "importing",
    "memory",
)

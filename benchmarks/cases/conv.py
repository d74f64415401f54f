"""A convolutional network on 64 images of 8 x 8 pixels through `micrograd.compile`: 4 kernels of 3 x 3, ReLU, a linear
layer to 10 classes, cross-entropy with labels as arguments, and an update by SGD. The images are random, with the shape
of scikit-learn's digits.
"""

from __future__ import annotations

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Result, compare, entry, training

NAME = "conv"
IMAGES, SIDE, KERNEL, CHANNELS, CLASSES, RATE = 64, 8, 3, 4, 10, 0.1
PLACES = SIDE - KERNEL + 1


def images() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.integers(0, 17, (IMAGES, SIDE, SIDE)) / 16, draw.integers(0, CLASSES, IMAGES)


def matrices() -> list[np.ndarray]:
    """The kernels and their biases, the linear layer's weights (out, in) and biases."""
    draw = np.random.default_rng(1)
    features = CHANNELS * PLACES**2
    return [
        draw.uniform(-1, 1, (CHANNELS, KERNEL**2)) / KERNEL,
        np.zeros(CHANNELS),
        draw.uniform(-1, 1, (CLASSES, features)) / features**0.5,
        np.zeros(CLASSES),
    ]


def compiled(micrograd):
    F, Value = micrograd.functional, micrograd.Value
    kernels, kernel_biases, weights, biases = (
        [[Value(x) for x in row] for row in m.tolist()] if m.ndim == 2 else [Value(x) for x in m.tolist()]
        for m in matrices()
    )
    parameters = [p for row in (*kernels, kernel_biases, *weights, biases) for p in row]
    X, labels = images()

    @micrograd.compile
    def loss(image, label):
        places = []
        for i in range(PLACES):
            for j in range(PLACES):
                patch = [x for row in image[i : i + KERNEL] for x in row[j : j + KERNEL]]
                places.append(F.relu(F.linear(patch, kernels, kernel_biases)))
        features = [x for channel in zip(*places) for x in channel]  # channel after channel, as in PyTorch
        return F.cross_entropy(F.linear(features, weights, biases), label)

    return training(micrograd.optim.SGD(parameters, lr=RATE), lambda: loss.mean(X, labels))


def torch_eager():
    torch = contestants.torch()
    F = torch.nn.functional
    kernels, kernel_biases, weights, biases = parameters = [torch.tensor(m, requires_grad=True) for m in matrices()]
    X, labels = (torch.tensor(a) for a in images())
    X = X[:, None]

    def loss_of():
        channels = F.conv2d(X, kernels.view(CHANNELS, 1, KERNEL, KERNEL), kernel_biases)
        return F.cross_entropy(F.linear(torch.relu(channels).flatten(1), weights, biases), labels)

    return contestants.torch_training(loss_of, parameters, lambda: RATE)


def jax_jit():
    jax = contestants.jax()
    jnp = jax.numpy
    state, (X, labels) = [jnp.array(m) for m in matrices()], images()
    X = jnp.array(X)[:, None]

    def loss_of(parameters):
        kernels, kernel_biases, weights, biases = parameters
        channels = jax.lax.conv(X, kernels.reshape(CHANNELS, 1, KERNEL, KERNEL), (1, 1), "VALID")
        features = jax.nn.relu(channels + kernel_biases[:, None, None]).reshape(IMAGES, -1)
        log_shares = jax.nn.log_softmax(features @ weights.T + biases)
        return -log_shares[np.arange(IMAGES), labels].mean()

    return contestants.jax_training(loss_of, state, lambda: RATE)


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    entries = [
        entry("ours", micrograd, lambda: compiled(micrograd)),
        entry("PyTorch eager", contestants.torch(), torch_eager),
        entry("JAX jit", contestants.jax(), jax_jit),
    ]
    return compare(NAME, "convolution on 64 images of 8 x 8, compiled", entries, rounds)

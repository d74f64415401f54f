"""Networks of the library in larger programs, with its optimizers and gradients inside the loss, against the same in
PyTorch: losses, and parameters afterwards."""

from __future__ import annotations

import math

from both_engines import assert_as_in_torch, drawn, each_program

XS = drawn(401, 6, 2)
LABELS = [0, 2, 1, 1, 0, 2]
TIMES = [0.0, 0.4, 0.9, 1.5, 2.2, 3.0]


def train(e, loss, columns, params, optimizer, steps=4):
    """The losses of some steps on a whole batch, and the parameters afterwards."""
    of_batch, seen = e.batch(loss), []
    for _ in range(steps):
        total = of_batch(*columns) / len(columns[0])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        seen.append(total)
    return [seen, params]


def every_activation_by_name(e):
    seen = []
    names = ["relu", "tanh", "sigmoid", "softplus", "softsign", "gelu", "silu", "mish", "erf", "sin"]
    for name in names:
        model = e.network([2, 3, 3], name)
        optimizer = e.optim.Adam(model.parameters(), lr=0.05)
        seen += train(
            e, lambda xs, y, m=model: e.F.cross_entropy(m(xs), y), (XS, LABELS), model.parameters(), optimizer
        )
    return seen


def physics_informed_network(e):
    """y'' = -y with y(0) = 0 and y'(0) = 1."""
    model = e.network([1, 4, 1], "tanh", init="xavier_uniform_")

    def loss(t):
        y = model([t])
        slope = e.grad(y, t)
        start = 0.0 * t
        return (e.grad(slope, t) + y) ** 2 + model([start]) ** 2 + (e.grad(model([start]), start) - 1) ** 2

    return train(e, loss, (TIMES,), model.parameters(), e.optim.Adam(model.parameters(), lr=0.02))


def distance_whose_slope_is_one(e):
    """The eikonal equation, for points around a circle where the distance is 0."""
    model = e.network([2, 4, 3, 1], "softplus", init="kaiming_normal_")

    def loss(xs, on_it):
        x, y = xs[0], xs[1]
        d = model([x, y])
        length = sum(g * g for g in e.grad(d, [x, y])).sqrt()
        return (length - 1) ** 2 + e.F.where(on_it > 0.5, abs(d), 0.1 * (-10 * abs(d)).exp())

    optimizer = e.optim.AdamW(model.parameters(), lr=0.02)
    return train(e, loss, (XS, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]), model.parameters(), optimizer)


def energy_of_a_system(e):
    """A network gives the energy; its derivatives give the motion."""
    model = e.network([2, 5, 1], "tanh", init="xavier_normal_")

    def loss(qp):
        q, p = qp[0], qp[1]
        by_q, by_p = e.grad(model([q, p]), [q, p])
        return (by_p - p) ** 2 + (by_q - q.sin()) ** 2

    return train(e, loss, (XS,), model.parameters(), e.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


def critic_with_a_penalty(e):
    """Two networks in turn: the critic's slope between real and made points is held at 1."""
    maker, critic = e.network([1, 3, 1], "tanh"), e.network([1, 4, 1], "gelu", seed=2)
    real, noise = [x[0] + 0.5 for x in XS], [x[1] for x in XS]
    optimizers = [e.optim.RMSprop(m.parameters(), lr=0.02) for m in (critic, maker)]

    def critics_loss(x, z):
        made = maker([z]).detach()
        between = 0.3 * x + 0.7 * made
        return critic([made]) - critic([x]) + (abs(e.grad(critic([between]), between)) - 1) ** 2

    seen = []
    for _ in range(3):
        seen += train(e, critics_loss, (real, noise), critic.parameters(), optimizers[0], steps=2)
        seen += train(e, lambda z: -critic([maker([z])]), (noise,), maker.parameters(), optimizers[1], steps=1)
    return seen


def actor_and_critic(e):
    """Advantages are detached; an entropy keeps the policy broad."""
    actor, critic = e.network([2, 3, 3], "relu"), e.network([2, 3, 1], "relu", seed=2)
    params = [*actor.parameters(), *critic.parameters()]

    def loss(state, action, gain):
        advantage = gain - critic(state)
        logs = e.F.log_softmax(actor(state))
        entropy = -sum(log.exp() * log for log in logs)
        return 0.5 * advantage**2 - e.F.take(logs, action) * advantage.detach() - 0.01 * entropy

    columns = XS, LABELS, [1.0, -0.5, 0.2, 0.0, 2.0, -1.0]
    return train(e, loss, columns, params, e.optim.Adam(params, lr=0.03))


def double_q_learning(e):
    """The network chooses the next action, its old copy says what that is worth; Huber's loss of the difference."""
    model, old = e.network([2, 4, 2], "relu"), e.network([2, 4, 2], "relu")

    def loss(state, action, reward, following):
        now, then = model(following), old(following)
        worth = e.F.where(now[0] >= now[1], then[0], then[1])
        error = e.F.take(model(state), action) - (reward + 0.9 * worth).detach()
        return e.F.where(abs(error) < 0.5, error**2, abs(error) - 0.25)

    columns = XS, [0, 1, 1, 0, 1, 0], [1.0, 0.0, -1.0, 0.0, 0.5, 0.0], XS[::-1]
    optimizer, seen = e.optim.Adam(model.parameters(), lr=0.05), []
    for _ in range(3):
        seen += train(e, loss, columns, model.parameters(), optimizer, steps=2)
        for before, now in zip(old.parameters(), model.parameters()):
            before.data += now.item() - before.item()
    return seen


def denoising(e):
    """One network for all levels of noise, which it gets as sine and cosine."""
    model = e.network([3, 5, 1], "silu", init="kaiming_uniform_")

    def loss(x, noise, level):
        kept = (1 - level).sqrt()
        return (model([kept * x + level.sqrt() * noise, (3 * level).sin(), (3 * level).cos()]) - noise) ** 2

    columns = [x[0] for x in XS], [x[1] for x in XS], [0.1, 0.3, 0.5, 0.7, 0.9, 0.95]
    return train(e, loss, columns, model.parameters(), e.optim.AdamW(model.parameters(), lr=0.05))


def mixed_samples(e):
    """Mixup: targets are probabilities, of two classes."""
    model = e.network([2, 4, 3], "mish")

    def loss(a, b, target, other, share):
        xs = [share * ai + (1 - share) * bi for ai, bi in zip(a, b)]
        logs = e.F.log_softmax(model(xs))
        return -share * e.F.take(logs, target) - (1 - share) * e.F.take(logs, other)

    columns = XS, XS[::-1], LABELS, LABELS[::-1], [0.9, 0.8, 0.7, 0.6, 0.55, 0.95]
    return train(
        e, loss, columns, model.parameters(), e.optim.SGD(model.parameters(), lr=0.3, nesterov=True, momentum=0.5)
    )


def two_tasks_with_learned_weights(e):
    """A body, two heads; each task's loss is divided by a variance of its own."""
    body, heads, logs = e.network([2, 4, 3], "softsign"), e.network([3, 2], "tanh", seed=2), e.values([0.0, 0.5])
    params = [*body.parameters(), *heads.parameters(), *logs]

    def loss(xs, y, label):
        value, score = heads(e.F.tanh(body(xs)))
        losses = (value - y) ** 2, e.F.softplus(score) - label * score
        return sum((-s).exp() * part + s for s, part in zip(logs, losses))

    columns = XS, TIMES, [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    return train(e, loss, columns, params, e.optim.Adam(params, lr=0.05))


def student_of_a_teacher(e):
    teacher, student = e.network([2, 6, 3], "tanh", seed=3), e.network([2, 2, 3], "gelu")

    def loss(xs, label):
        soft = [z.detach() / 2.0 for z in teacher(xs)]
        mine = student(xs)
        theirs, ours = e.F.softmax(soft), e.F.log_softmax([z / 2.0 for z in mine])
        return e.F.cross_entropy(mine, label) - 4 * sum(p * q for p, q in zip(theirs, ours))

    params = student.parameters()
    return [train(e, loss, (XS, LABELS), params, e.optim.Adam(params, lr=0.05)), teacher.parameters()]


def boundary_of_two_spirals(e):
    """Features of sines, a margin, and a penalty that is not part of a sample."""
    model = e.network([4, 6, 1], "sin")
    turns = [0.5 * k for k in range(1, 9)]
    points = [[s * t * math.cos(t), s * t * math.sin(t)] for t in turns for s in (1, -1)]
    signs = [s for _ in turns for s in (1.0, -1.0)]
    margin = e.batch(lambda xs, y: (1 - y * model([*xs, xs[0].sin(), xs[1].sin()])).relu())
    optimizer, seen = e.optim.Adam(model.parameters(), lr=0.05), []
    for _ in range(4):
        total = margin(points, signs) / len(signs) + 1e-3 * sum(p * p for p in model.parameters())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        seen.append(total)
    return [seen, model.parameters()]


PROGRAMS = [
    actor_and_critic,
    boundary_of_two_spirals,
    critic_with_a_penalty,
    denoising,
    distance_whose_slope_is_one,
    double_q_learning,
    energy_of_a_system,
    every_activation_by_name,
    mixed_samples,
    physics_informed_network,
    student_of_a_teacher,
    two_tasks_with_learned_weights,
]


@each_program(*PROGRAMS)
def test_networks(program, engine):
    assert_as_in_torch(program, engine)

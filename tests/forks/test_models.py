"""Models of sequences, ratings, counts, densities and decisions as forks of micrograd write them, against the same in
PyTorch: data and gradients."""

from __future__ import annotations

import math

from both_engines import assert_as_in_torch, drawn, each_program, with_grads

POINTS = [-1.5, -0.4, 0.0, 0.3, 0.9, 2.0]
PAIRS = drawn(201, 6, 2)


def affine(row, xs):
    return sum((w * x for w, x in zip(row, xs)), row[-1])


def spikes_with_a_surrogate_gradient(e):
    """A neuron that fires is 0 or 1 forward, and a steep sigmoid backward, by detach()."""
    leak, weight = e.values([0.8, 0.7])

    def spikes(current):
        v, count = 0.0, 0.0
        for x in current:
            v = leak * v + weight * x
            soft = (4 * (v - 1)).sigmoid()
            fired = e.F.where(v >= 1.0, 1.0, 0.0) + soft - soft.detach()
            v, count = v * (1 - fired), count + fired
        return (count - 2) ** 2

    return with_grads(e, spikes, [leak, weight], [[1.0, 0.9, 1.1, 0.3], [2.0, 2.0, 0.0, 2.0], [0.1] * 4])


def quantized_weights(e):
    """Three levels forward, straight through backward."""
    weights = e.values([-0.8, 0.1, 0.6])

    def loss(xs, y):
        levels = [e.F.where(w > 0.3, 1.0, e.F.where(w < -0.3, -1.0, 0.0)) for w in weights]
        used = [w + (q - w).detach() for w, q in zip(weights, levels)]
        return (affine(used, xs) - y) ** 2

    return with_grads(e, loss, weights, PAIRS, POINTS)


def gumbel_softmax(e):
    logits, rewards = e.values([0.2, -0.5, 0.9]), [1.0, -2.0, 0.5]

    def reward(noise):
        gumbels = [-(-(u * 0.49 + 0.5).log()).log() for u in noise]
        chosen = e.F.softmax([(z + g) / 0.7 for z, g in zip(logits, gumbels)])
        return sum(c * r for c, r in zip(chosen, rewards))

    return with_grads(e, reward, logits, drawn(202, 5, 3))


def contrastive_pairs(e):
    """Each of a batch has to find its partner among all: cross entropy of cosines."""
    weight, heat = e.values(drawn(203, 2, 3)), e.value(2.0)

    def unit(xs):
        z = [affine(row, xs).tanh() for row in weight]
        return [zi / sum(zj * zj for zj in z).sqrt() for zi in z]

    def loss(left, right):
        a, b = [unit(x) for x in left], [unit(x) for x in right]
        rows = [[heat * sum(p * q for p, q in zip(x, y)) for y in b] for x in a]
        return sum(e.F.cross_entropy(row, i) for i, row in enumerate(rows)) / len(rows)

    return with_grads(e, loss, [weight, heat], [PAIRS[:3], PAIRS[3:]], [PAIRS[1:4], PAIRS[2:5]])


def hidden_markov_model(e):
    start, moves, signs = e.values(drawn(204, 2)), e.values(drawn(205, 2, 2)), e.values(drawn(206, 2, 3))

    def loss(observed):
        signals, steps = [e.F.log_softmax(row) for row in signs], [e.F.log_softmax(row) for row in moves]
        alpha = [p + e.F.take(s, observed[0]) for p, s in zip(e.F.log_softmax(start), signals)]
        for o in observed[1:]:
            alpha = [
                e.F.logsumexp([alpha[i] + steps[i][j] for i in range(2)]) + e.F.take(signals[j], o) for j in (0, 1)
            ]
        return -e.F.logsumexp(alpha)

    return with_grads(e, loss, [start, moves, signs], [[0, 1, 2, 2], [1, 1, 0, 2]])


def conditional_random_field(e):
    """The score of the tags that are given, against all, for words of one number."""
    moves, weight = e.values(drawn(207, 3, 3)), e.values(drawn(208, 3, 2))

    def loss(words, tags):
        scores = [[w * x + b for w, b in weight] for x in words]
        total, gold = scores[0], e.F.take(scores[0], tags[0])
        for score, before, tag in zip(scores[1:], tags, tags[1:]):
            total = [e.F.logsumexp([total[i] + moves[i][j] for i in range(3)]) + score[j] for j in range(3)]
            gold = gold + e.F.take(e.F.embedding(before, moves), tag) + e.F.take(score, tag)
        return e.F.logsumexp(total) - gold

    return with_grads(e, loss, [moves, weight], [[0.1, -0.4, 0.8], [1.0, 0.0, -1.0]], [[0, 2, 1], [1, 1, 2]])


def matrix_factors(e):
    """Ratings by users and items, with biases and a penalty on what is used."""
    users, items = e.values(drawn(209, 3, 3)), e.values(drawn(210, 4, 3))

    def loss(user, item, rating):
        u, i = e.F.embedding(user, users), e.F.embedding(item, items)
        guess = (u[0] * i[0] + u[1] * i[1] + u[2] + i[2]).sigmoid() * 4 + 1
        return (guess - rating) ** 2 + 0.1 * sum(p * p for p in [*u, *i])

    return with_grads(e, loss, [users, items], [0, 0, 1, 2, 2], [3, 1, 0, 3, 2], [5.0, 1.0, 3.0, 2.0, 4.0])


def words_by_negative_sampling(e):
    near, far = e.values(drawn(211, 5, 2)), e.values(drawn(212, 5, 2))

    def loss(word, context, noise):
        v = e.F.embedding(word, near)

        def score(i):
            return sum(a * b for a, b in zip(v, e.F.embedding(i, far)))

        return -score(context).sigmoid().log() - sum((-score(i)).sigmoid().log() for i in noise)

    return with_grads(e, loss, [near, far], [0, 1, 4], [1, 2, 0], [[3, 4], [0, 0], [2, 3]])


def ratings_of_players(e):
    """Elo's model: a win, a loss or a draw of two."""
    ratings, draws = e.values([0.1, -0.3, 0.5]), e.value(-1.0)

    def loss(a, b, result):
        gap = e.F.take(ratings, a) - e.F.take(ratings, b)
        win, loss, draw = e.F.log_softmax([gap, -gap, draws])
        return -e.F.where(result > 0.5, win, e.F.where(result < -0.5, loss, draw))

    return with_grads(e, loss, [ratings, draws], [0, 1, 2, 0], [1, 2, 0, 2], [1.0, -1.0, 0.0, -1.0])


def survival_of_patients(e):
    """Cox's partial likelihood: each death against those still at risk, which the times decide."""
    w = e.values([0.5, -0.8])

    def loss(times, died, covariates):
        risks = [sum(wi * xi for wi, xi in zip(w, x)) for x in covariates]
        total = 0.0
        for t, d, risk in zip(times, died, risks):
            at_risk = sum(e.F.where(other >= t, r.exp(), 0.0) for other, r in zip(times, risks))
            total += e.F.where(d > 0.5, at_risk.log() - risk, 0.0)
        return total

    times = [[5.0, 2.0, 2.0], [1.0, 4.0, 3.0]]
    return with_grads(e, loss, [w], times, [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], [PAIRS[:3], PAIRS[3:]])


def ordered_classes(e):
    """Cut points that rise, and one score."""
    w, first, steps = e.values([0.9, 0.1]), e.value(-0.5), e.values([0.2, -0.3])

    def loss(x, grade):
        z, cuts = w[0] * x + w[1], [first]
        for step in steps:
            cuts.append(cuts[-1] + step.exp())
        below = [0.0, *((c - z).sigmoid() for c in cuts), 1.0]
        return -e.F.take([(b - a).log() for a, b in zip(below, below[1:])], grade)

    return with_grads(e, loss, [w, first, steps], POINTS, [0, 1, 1, 2, 3, 3])


def counts_with_many_zeros(e):
    """A Poisson model that yields 0 more often; log(0) is in the side that is not taken."""
    w = e.values([0.5, 0.2, -0.7])

    def loss(x, count):
        rate, more = (w[0] * x + w[1]).exp(), w[2].sigmoid()
        zero = (more + (1 - more) * (-rate).exp()).log()
        return -e.F.where(e.F.eq(count, 0.0), zero, lambda: (-more).log1p() - rate + count * rate.log() - count.log())

    return with_grads(e, loss, w, POINTS, [0.0, 0.0, 1.0, 0.0, 4.0, 2.0])


def mixture_of_densities(e):
    w = e.values(drawn(213, 3, 3, 2))

    def loss(x, y):
        weights, means, logs = ([a * x + b for a, b in rows] for rows in w)
        parts = [lw - s - 0.5 * ((y - m) / s.exp()) ** 2 for lw, m, s in zip(e.F.log_softmax(weights), means, logs)]
        return 0.5 * math.log(2 * math.pi) - e.F.logsumexp(parts)

    return with_grads(e, loss, w, POINTS, POINTS[::-1])


def flow_of_couplings(e):
    """Each of two numbers is scaled by a function of the other; the scales' logs add to the density."""
    w = e.values(drawn(214, 2, 4))

    def loss(xs):
        a, b, log_det = xs[0], xs[1], 0.0
        for sa, sb, ta, tb in w:
            scale = (sa * a + sb).tanh()
            a, b, log_det = b * scale.exp() + ta * a + tb, a, log_det + scale
        return 0.5 * (a * a + b * b) - log_det

    return with_grads(e, loss, w, PAIRS)


def radial_basis(e):
    centers, widths, out = e.values(drawn(215, 3, 2)), e.values([0.5, 1.0, 2.0]), e.values(drawn(216, 3))

    def loss(xs, y):
        squares = [sum((x - c) ** 2 for x, c in zip(xs, center)) for center in centers]
        bumps = [(-s / (2 * w * w)).exp() for s, w in zip(squares, widths)]
        return abs(sum(o * h for o, h in zip(out, bumps)) / sum(bumps) - y)

    return with_grads(e, loss, [centers, widths, out], PAIRS, POINTS)


def fuzzy_rules(e):
    """Memberships are triangles; a rule holds as far as the least of its parts, the sum rules by weight."""
    tops, answers = e.values([-0.6, 0.1, 0.7]), e.values([-1.0, 0.0, 2.0])

    def answer(xs):
        def holds(x, top):
            return (1 - abs(x - top)).clamp(min=0.0)

        rules = [e.F.minimum(holds(xs[0], t), holds(xs[1], s)) for t, s in zip(tops, [tops[2], tops[0], tops[1]])]
        total = sum(rules) + 1e-3
        return (sum(r * a for r, a in zip(rules, answers)) / total) ** 2 + e.F.maximum(rules[0], rules[1])

    return with_grads(e, answer, [tops, answers], PAIRS)


def soft_decision_tree(e):
    gates, leaves = e.values(drawn(217, 3, 3)), e.values(drawn(218, 4))

    def loss(xs, y):
        root, left, right = ((3 * affine(g, xs)).sigmoid() for g in gates)
        paths = [root * left, root * (1 - left), (1 - root) * right, (1 - root) * (1 - right)]
        pruned = [e.F.where(p > 0.05, p, 0.0) for p in paths]
        return (sum(p * leaf for p, leaf in zip(pruned, leaves)) - y) ** 2

    return with_grads(e, loss, [gates, leaves], PAIRS, POINTS)


def twins_with_a_margin(e):
    """Two embeddings, close or far apart; the pair of equal ones has a root of 0."""
    w = e.values(drawn(219, 2, 3))

    def loss(a, b, same):
        square = sum((affine(row, a) - affine(row, b)) ** 2 for row in w)
        distance = e.F.where(square > 0, lambda: square.sqrt(), 0.0)
        return e.F.where(same > 0.5, square, (1.5 - distance).relu() ** 2)

    return with_grads(e, loss, w, PAIRS[:4], [PAIRS[0], *PAIRS[3:]], [1.0, 0.0, 0.0, 1.0])


def network_that_is_an_equation(e):
    """A neural ODE by Heun's steps, and the work that it does on its way."""
    w = e.values(drawn(220, 2, 3))

    def loss(xs, y):
        state, work = [xs[0], xs[1]], 0.0
        for _ in range(4):
            first = [affine(row, state).tanh() for row in w]
            then = [affine(row, [s + 0.25 * f for s, f in zip(state, first)]).tanh() for row in w]
            state = [s + 0.125 * (f + t) for s, f, t in zip(state, first, then)]
            work += sum(f * f for f in first)
        return (state[0] - y) ** 2 + 0.01 * work

    return with_grads(e, loss, w, PAIRS, POINTS)


def attention_with_lengths_and_distances(e):
    """Scores beyond a text's length are -inf; others fall with the distance."""
    w, slope = e.values(drawn(221, 3, 2)), e.value(0.5)

    def loss(xs, length, y):
        query, out = w[0][0] * xs[0] + w[0][1], 0.0
        scores = [query * (w[1][0] * x + w[1][1]) - slope * j for j, x in enumerate(xs)]
        kept = [e.F.where(length > float(j), s, -math.inf) for j, s in enumerate(scores)]
        for p, x in zip(e.F.softmax(kept), xs):
            out += p * e.F.gelu(w[2][0] * x + w[2][1])
        return (out - y) ** 2

    texts = drawn(222, 4, 4)
    return with_grads(e, loss, [w, slope], texts, [1.0, 2.0, 3.0, 4.0], POINTS[:4])


def units_that_add_and_multiply(e):
    """A neural arithmetic unit, all by functions of lists."""
    w, m, gate = (e.values(drawn(s, 2)) for s in (228, 229, 230))

    def loss(xs, y):
        weights = [a * b for a, b in zip(e.F.tanh(w), e.F.sigmoid(m))]
        added = e.F.dot(weights, [xs[0], xs[1]])
        multiplied = e.F.exp(e.F.dot(weights, e.F.log(e.F.softplus([xs[0], xs[1]], beta=2.0))))
        mix = e.F.sigmoid(e.F.dot(gate, e.F.sin([xs[0], xs[1]])))
        return e.F.abs(mix * added + (1 - mix) * e.F.sqrt(multiplied) - e.F.cos(y))

    return with_grads(e, loss, [w, m, gate], PAIRS, POINTS)


def hats_on_a_grid(e):
    """A Kolmogorov-Arnold layer: each edge is a curve of straight pieces."""
    curves = e.values(drawn(223, 2, 5))

    def loss(xs, y):
        total = 0.0
        for x, heights in zip(xs, curves):
            total += sum(h * (1 - abs(2 * x - k)).clamp(0.0, 1.0) for k, h in zip(range(-2, 3), heights))
            total += 0.1 * e.F.silu(x * heights[0])
        return (total - y) ** 2

    return with_grads(e, loss, curves, PAIRS, POINTS)


def waves_of_features(e):
    """Sines of several frequencies, as for coordinates."""
    w, rate = e.values(drawn(224, 6)), e.value(1.25)

    def loss(x, y):
        waves = [f(rate * 2**k * x) for k in range(3) for f in (type(x).sin, type(x).cos)]
        return (sum(wi * wave for wi, wave in zip(w, waves)) - y) ** 2

    return with_grads(e, loss, [w, rate], POINTS, POINTS[::-1])


def set_of_points(e):
    """What does not depend on the order: mean, maximum and a soft maximum over a set."""
    w = e.values(drawn(225, 3, 3))

    def loss(points, y):
        hidden = [[affine(row, p).relu() for row in w] for p in points]
        columns = list(zip(*hidden))
        top = columns[0][0]
        for h in columns[0][1:]:
            top = e.F.maximum(top, h)
        return (top + e.F.mean(list(columns[1])) - e.F.logsumexp(list(columns[2])) - y) ** 2

    return with_grads(e, loss, w, [PAIRS[:4], PAIRS[2:]], [0.5, -0.5])


def squashed_policy_and_twin_critics(e):
    """The log-density of a tanh of a normal variable, and the lesser of two critics."""
    actor, critics = e.values(drawn(226, 2, 2)), e.values(drawn(227, 2, 3))

    def loss(state, noise):
        mean, log_std = (a * state + b for a, b in actor)
        log_std = log_std.clamp(-2.0, 0.5)
        raw = mean + log_std.exp() * noise
        log_p = -0.5 * noise**2 - log_std - 2 * (math.log(2) - raw - e.F.softplus(-2 * raw))
        values = [affine(c, [state, raw.tanh()]) for c in critics]
        return 0.2 * log_p - e.F.minimum(*values)

    return with_grads(e, loss, [actor, critics], POINTS, POINTS[::-1])


PROGRAMS = [
    attention_with_lengths_and_distances,
    conditional_random_field,
    contrastive_pairs,
    counts_with_many_zeros,
    flow_of_couplings,
    fuzzy_rules,
    gumbel_softmax,
    hats_on_a_grid,
    hidden_markov_model,
    matrix_factors,
    mixture_of_densities,
    network_that_is_an_equation,
    ordered_classes,
    quantized_weights,
    radial_basis,
    ratings_of_players,
    set_of_points,
    soft_decision_tree,
    spikes_with_a_surrogate_gradient,
    squashed_policy_and_twin_critics,
    survival_of_patients,
    twins_with_a_margin,
    units_that_add_and_multiply,
    waves_of_features,
    words_by_negative_sampling,
]


@each_program(*PROGRAMS)
def test_models(program, engine):
    assert_as_in_torch(program, engine)

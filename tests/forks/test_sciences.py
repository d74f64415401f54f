"""Formulas of physics, finance and other sciences as users of scalar engines write them, by methods of Value above all,
against the same in PyTorch: data and gradients."""

from __future__ import annotations

import math
from functools import reduce

from both_engines import assert_as_in_torch, drawn, each_program, with_grads

ANGLES = [-1.2, -0.3, 0.0, 0.4, 1.1]


def implied_volatility(e):
    """Newton's method on the price of a call: the slope is vega."""

    def price(volatility, strike):
        d1 = (math.log(100.0 / strike) + (0.01 + 0.5 * volatility**2) * 0.75) / (volatility * math.sqrt(0.75))
        phi = [0.5 * (1 + (d / math.sqrt(2)).erf()) for d in (d1, d1 - volatility * math.sqrt(0.75))]
        return 100.0 * phi[0] - strike * math.exp(-0.01 * 0.75) * phi[1]

    found = []
    for strike, paid in ((90.0, 14.5), (100.0, 8.75), (120.0, 3.0)):
        volatility = e.value(0.3)
        for _ in range(6):
            gap = price(volatility, strike) - paid
            volatility.data -= gap.item() / e.grads(gap, [volatility])[0]
        found += [volatility, abs(price(volatility, strike) - paid) < 1e-9]
    return found


def duration_and_convexity(e):
    """Of a bond: first and second derivative of its price by its yield."""
    coupon = e.value(4.0)

    def risk(rate, years):
        cash = [coupon] * 4 + [coupon + 100.0]
        price = sum(c / (1 + rate) ** (years + k) for k, c in enumerate(cash))
        slope = e.grad(price, rate)
        return price - slope / price + e.grad(slope, rate) / price

    return with_grads(e, risk, [coupon], [0.01, 0.05, 0.1], [0.25, 0.5, 1.0])


def sharpe_ratio_of_softmax_weights(e):
    scores, returns = e.values(drawn(101, 3)), drawn(102, 6, 3)

    def ratio(month):
        weights = e.F.softmax(scores)
        gains = [sum(w * r for w, r in zip(weights, row)) for row in month]
        mean = sum(gains) / len(gains)
        return -mean / (sum((g - mean) ** 2 for g in gains) / (len(gains) - 1)).sqrt()

    return with_grads(e, ratio, scores, [returns[:3], returns[3:]])


def american_put_by_a_tree(e):
    """At each node the greater of waiting and exercising, which are equal at the knot where both are 0."""
    volatility, rate = e.value(0.25), e.value(0.03)

    def value_of(spot):
        up = (volatility * 0.5).exp()
        chance = ((rate * 0.25).exp() - 1 / up) / (up - 1 / up)
        worth = [e.F.maximum(100.0 - spot * up ** (2 * i - 4), 0.0) for i in range(5)]
        for n in range(4, 0, -1):
            waiting = [(-rate * 0.25).exp() * (chance * b + (1 - chance) * a) for a, b in zip(worth, worth[1:])]
            worth = [e.F.maximum(w, 100.0 - spot * up ** (2 * i - n + 1)) for i, w in enumerate(waiting)]
        return worth[0]

    return with_grads(e, value_of, [volatility, rate], [80.0, 100.0, 130.0])


def progressive_tax(e):
    rates = e.values([0.1, 0.25, 0.4])

    def tax(income):
        bands = [(0.0, 10.0), (10.0, 40.0), (40.0, math.inf)]
        return sum(r * (e.F.minimum(income, high) - low).relu() for r, (low, high) in zip(rates, bands))

    return with_grads(e, tax, rates, [5.0, 10.0, 25.0, 40.0, 90.0])


def projectile_with_drag(e):
    """It stays where it hits the ground."""
    drag = e.value(0.05)

    def distance(speed, angle):
        x, y, vx, vy = 0.0, 1.0, speed * angle.cos(), speed * angle.sin()
        for _ in range(12):
            v = (vx * vx + vy * vy + 1e-12).sqrt()
            flying = y > 0
            x = e.F.where(flying, x + 0.1 * vx, x)
            y = e.F.where(flying, y + 0.1 * vy, y)
            vx, vy = vx - 0.1 * drag * v * vx, vy - 0.1 * (9.81 + drag * v * vy)
        return x

    return with_grads(e, distance, [drag], [3.0, 5.0, 8.0], [0.2, 0.8, 1.3])


def implicit_step_of_a_stiff_equation(e):
    """Backward Euler for y' = -k (y^3 - cos t): a fixed number of Newton's steps for each."""
    k = e.value(50.0)

    def trajectory(y, t):
        for _ in range(3):
            t, old = t + 0.1, y
            for _ in range(4):
                gap = y - old + 0.1 * k * (y**3 - t.cos())
                y = y - gap / (1 + 0.3 * k * y**2)
        return y

    return with_grads(e, trajectory, [k], [0.5, 1.0, 2.0], [0.0, 0.3, 1.0])


def predators_and_prey(e):
    """Runge and Kutta's steps of order 4, and the gradients of the rates."""
    rates = e.values([1.1, 0.4, 0.1, 0.4])

    def slope(x, y):
        return rates[0] * x - rates[1] * x * y, rates[2] * x * y - rates[3] * y

    def misfit(x, y):
        for _ in range(3):
            a, b = slope(x, y)
            c, d = slope(x + 0.1 * a, y + 0.1 * b)
            g, h = slope(x + 0.1 * c, y + 0.1 * d)
            m, n = slope(x + 0.2 * g, y + 0.2 * h)
            x, y = x + (a + 2 * c + 2 * g + m) / 30, y + (b + 2 * d + 2 * h + n) / 30
        return (x.log() - 2) ** 2 + (y.log() - 1) ** 2

    return with_grads(e, misfit, rates, [10.0, 5.0], [5.0, 8.0])


def logistic_map_with_a_clamp(e):
    r = e.value(3.9)

    def orbit(x):
        for _ in range(8):
            x = (r * x * (1 - x)).clamp(0.05, 0.9)
        return x

    return with_grads(e, orbit, [r], [0.1, 0.45, 0.5, 0.83])


def great_circle(e):
    radius = e.value(6371.0)

    def distance(a, b, c, d):
        h = ((c - a) / 2).sin() ** 2 + a.cos() * c.cos() * ((d - b) / 2).sin() ** 2
        return 2 * radius * h.sqrt().asin()

    return with_grads(e, distance, [radius], ANGLES, ANGLES[::-1], [a / 2 + 0.1 for a in ANGLES], [0.5] * 5)


def arm_of_two_links(e):
    """Joint angles by arc functions, then a Jacobian's determinant by derivatives of the forward formula."""
    a, b = e.values([1.0, 0.75])

    def loss(x, y):
        elbow = ((x * x + y * y - a * a - b * b) / (2 * a * b)).clamp(-1.0, 1.0).acos()
        shoulder = e.F.atan2(y, x) - e.F.atan2(b * elbow.sin(), a + b * elbow.cos())
        reached = [a * f(shoulder) + b * f(shoulder + elbow) for f in (type(x).cos, type(x).sin)]
        (xs, xe), (ys, ye) = (e.grad(r, [shoulder, elbow]) for r in reached)
        return elbow + (shoulder / 4).tan() + (reached[0] - x) ** 2 + xs * ye - xe * ys

    return with_grads(e, loss, [a, b], [0.5, 1.0, -0.75], [0.5, 0.25, 1.0])


def keplers_equation(e):
    eccentricity = e.value(0.6)

    def anomaly(mean):
        E = mean + eccentricity * mean.sin()
        for _ in range(6):
            E = E - (E - eccentricity * E.sin() - mean) / (1 - eccentricity * E.cos())
        half = ((1 + eccentricity) / (1 - eccentricity)).sqrt() * (E / 2).tan()
        return 2 * half.atan()

    return with_grads(e, anomaly, [eccentricity], [0.1, 1.0, 2.5])


def hermite_interpolation(e):
    """The piece is chosen by x; beyond the last knots the curve goes on as a line."""
    values, slopes, knots = e.values(drawn(103, 4)), e.values(drawn(104, 4)), [-1.0, 0.0, 0.5, 2.0]

    def curve(x):
        y = values[0] + slopes[0] * (x - knots[0])
        for i in range(3):
            width = knots[i + 1] - knots[i]
            t = (x - knots[i]) / width
            piece = (1 + 2 * t) * (1 - t) ** 2 * values[i] + t**2 * (3 - 2 * t) * values[i + 1]
            piece += width * (t * (1 - t) ** 2 * slopes[i] + t**2 * (t - 1) * slopes[i + 1])
            y = e.F.where(x >= knots[i], piece, y)
        return e.F.where(x >= knots[3], values[3] + slopes[3] * (x - knots[3]), y)

    return with_grads(e, curve, [values, slopes], [-1.5, -1.0, -0.3, 0.0, 0.2, 0.5, 1.9, 2.0, 3.0])


def path_of_light(e):
    """Fermat: the crossing point that takes the least time, by Newton's method in the program."""
    index = e.value(1.33)

    def time(x, height, depth):
        return (x * x + height * height).sqrt() + index * ((2 - x) ** 2 + depth * depth).sqrt()

    def least(height, depth):
        x = 1.0 + 0.0 * height
        for _ in range(5):
            slope = e.grad(time(x, height, depth), x)
            x = x - slope / e.grad(slope, x)
        return time(x, height, depth) + x

    return with_grads(e, least, [index], [1.0, 2.0, 0.5], [1.0, 0.7, 1.5])


def epidemic(e):
    spread, recovery = e.values([0.5, 0.2])

    def error(infected, observed):
        s, i, r = 1 - infected, infected, 0.0
        for _ in range(10):
            new, healed = spread * s * i, recovery * i
            s, i, r = s - new, i + new - healed, r + healed
        return ((i + r).log10() - observed.log10()) ** 2 + (s + i + r).log2()

    return with_grads(e, error, [spread, recovery], [0.01, 0.02, 0.1], [0.1, 0.2, 0.5])


def hanging_chain(e):
    a, sag = e.values([1.5, -0.5])
    return with_grads(e, lambda x: a * (x / a).cosh() + sag + (a * (x / a).sinh()) ** 2, [a, sag], ANGLES)


def cooperative_binding(e):
    """Hill's equation, whose exponent is learned, and Arrhenius' factor."""
    half, n, energy = e.values([0.8, 2.3, 1.2])

    def rate(dose, temperature):
        return dose**n / (half**n + dose**n) * math.e ** -(energy * temperature.reciprocal())

    return with_grads(e, rate, [half, n, energy], [0.1, 0.8, 3.0], [0.5, 1.0, 2.0])


def entropy_in_bits(e):
    scores = e.values(drawn(105, 4))

    def bits(heat):
        p = e.F.softmax([s / heat for s in scores])
        return -sum(pi * pi.log2() for pi in p) + sum(pi.expm1() for pi in p) + reduce(e.F.maximum, p)

    return with_grads(e, bits, scores, [0.5, 1.0, 4.0])


def molecules(e):
    """The forces of Lennard-Jones's potential, and where the cutoff is, none."""
    depth, size = e.values([1.2, 0.9])

    def strength(xs):
        atoms = [(xs[0], xs[1]), (xs[2], xs[3]), (xs[4], xs[5])]
        energy = 0.0
        for i, (a, b) in enumerate(atoms):
            for c, d in atoms[:i]:
                square = (a - c) ** 2 + (b - d) ** 2
                sixth = (size * size / square) ** 3
                energy += e.F.where(square < 4.0, 4 * depth * (sixth * sixth - sixth), 0.0)
        return sum(f * f for f in e.grad(energy, [xs[i] for i in range(6)])).log1p() + energy

    return with_grads(e, strength, [depth, size], [[0.0, 0.0, 1.0, 0.2, 0.3, 1.1], [0.0, 0.0, 0.9, 0.0, 2.5, 1.0]])


def shapes_by_signed_distance(e):
    """A box cut out of a ball; five steps of a ray towards it, and the normal there."""
    radius, side = e.values([1.0, 0.4])

    def distance(x, y):
        ball = (x * x + y * y).sqrt() - radius
        box = e.F.maximum(abs(x - 0.5) - side, abs(y) - side)
        return e.F.maximum(ball, -box)

    def shade(height):
        x, y = height * 0 - 3.0, height * 1.0
        for _ in range(5):
            x = x + 0.9 * distance(x, y)
        nx, ny = e.grad(distance(x, y), [x, y])
        return (0.6 * ny - 0.8 * nx).clamp(min=0.0) + 0.1 * x

    return with_grads(e, shade, [radius, side], [-0.7, -0.2, 0.1, 0.5])


def ray_that_may_miss_a_ball(e):
    """No root is taken where the ray misses."""
    radius = e.value(1.0)

    def depth(y):
        discriminant = radius**2 - y**2
        return e.F.where(discriminant > 0, lambda: 3 - discriminant.sqrt(), 10.0)

    return with_grads(e, depth, [radius], [-2.0, -1.0, 0.0, 0.6, 1.0, 5.0])


def controller_that_saturates(e):
    """A PID controller; its integral stands still while the valve is at its limit."""
    gains = e.values([2.0, 0.5, 0.1])

    def cost(goal):
        level, total, last, loss = 0.0 * goal, 0.0, goal, 0.0
        for _ in range(8):
            error = goal - level
            wish = gains[0] * error + gains[1] * total + gains[2] * (error - last)
            valve = wish.clamp(-1.0, 1.0)
            total = e.F.where(e.F.logical_or(wish < -1.0, wish > 1.0), total, total + error)
            level, last, loss = level + 0.3 * valve - 0.05 * level, error, loss + error**2
        return loss

    return with_grads(e, cost, gains, [-2.0, 0.1, 0.4, 3.0])


def soft_alignment_of_two_series(e):
    """Dynamic time warping with a soft minimum."""
    warmth = e.value(0.5)

    def cost(a, b):
        previous = [0.0, *[1e3] * len(b)]
        for x in a:
            row = [1e3]
            for j, y in enumerate(b):
                ways = [previous[j], previous[j + 1], row[j]]
                row.append((x - y) ** 2 - warmth * e.F.logsumexp([-w / warmth for w in ways]))
            previous = row
        return previous[-1]

    return with_grads(e, cost, [warmth], drawn(106, 2, 4), drawn(107, 2, 3))


PROGRAMS = [
    american_put_by_a_tree,
    arm_of_two_links,
    controller_that_saturates,
    cooperative_binding,
    duration_and_convexity,
    entropy_in_bits,
    epidemic,
    great_circle,
    hanging_chain,
    hermite_interpolation,
    implicit_step_of_a_stiff_equation,
    keplers_equation,
    logistic_map_with_a_clamp,
    molecules,
    path_of_light,
    predators_and_prey,
    progressive_tax,
    projectile_with_drag,
    ray_that_may_miss_a_ball,
    shapes_by_signed_distance,
    sharpe_ratio_of_softmax_weights,
    soft_alignment_of_two_series,
]


@each_program(*PROGRAMS, eager_only=[implied_volatility])
def test_sciences(program, engine):
    assert_as_in_torch(program, engine)

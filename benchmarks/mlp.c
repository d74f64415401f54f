/* One training step of a multilayer perceptron, written by hand, called through ctypes. Parameters are in micrograd's
   order: neuron after neuron, its weights and then its bias. */

#include <math.h>
#include <string.h>

enum { MAX_WIDTH = 64, MAX_LAYERS = 8, MAX_PARAMETERS = 8192 };

/* loss 0: the sum of squared errors, tanh everywhere. loss 1: mean hinge + 1e-4 |p|^2, ReLU, a linear last layer. */
double train_step(double *p, const double *X, const double *y, int samples, const int *sizes, int layers, int loss,
                  double rate)
{
    static double grad[MAX_PARAMETERS];
    double out[MAX_LAYERS + 1][MAX_WIDTH], g[MAX_LAYERS + 1][MAX_WIDTH], total = 0.0;
    int count = 0;
    for (int l = 0; l < layers; l++)
        count += (sizes[l] + 1) * sizes[l + 1];
    memset(grad, 0, count * sizeof *grad);

    for (int s = 0; s < samples; s++) {
        memcpy(out[0], X + s * sizes[0], sizes[0] * sizeof **out);
        const double *w = p;
        for (int l = 0; l < layers; l++)
            for (int j = 0; j < sizes[l + 1]; j++, w += sizes[l] + 1) {
                double sum = w[sizes[l]];
                for (int i = 0; i < sizes[l]; i++)
                    sum += w[i] * out[l][i];
                out[l + 1][j] = loss == 0 ? tanh(sum) : l == layers - 1 ? sum : sum > 0 ? sum : 0;
            }
        double score = out[layers][0], *first = g[layers];
        if (loss == 0) {
            total += (score - y[s]) * (score - y[s]);
            *first = 2 * (score - y[s]);
        } else {
            double margin = 1 - y[s] * score;
            total += margin > 0 ? margin / samples : 0;
            *first = margin > 0 ? -y[s] / samples : 0;
        }
        int end = count;
        for (int l = layers - 1; l >= 0; l--) {
            int start = end - (sizes[l] + 1) * sizes[l + 1];
            memset(g[l], 0, sizes[l] * sizeof **g);
            for (int j = 0; j < sizes[l + 1]; j++) {
                const double *weights = p + start + j * (sizes[l] + 1), o = out[l + 1][j];
                double *gradients = grad + start + j * (sizes[l] + 1), d = g[l + 1][j];
                d *= loss == 0 ? 1 - o * o : l == layers - 1 || o > 0;
                for (int i = 0; i < sizes[l]; i++) {
                    gradients[i] += d * out[l][i];
                    g[l][i] += d * weights[i];
                }
                gradients[sizes[l]] += d;
            }
            end = start;
        }
    }
    if (loss == 1)
        for (int i = 0; i < count; i++) {
            total += 1e-4 * p[i] * p[i];
            grad[i] += 2e-4 * p[i];
        }
    for (int i = 0; i < count; i++)
        p[i] -= rate * grad[i];
    return total;
}

/* The same for MLP(2, [16, 16, 1]), with sizes that the compiler knows. Masks take the place of branches. */
double moons_step(double *p, const double *X, const double *y, int samples, double rate)
{
    enum { IN = 2, WIDE = 16, PARAMETERS = 337 };
    double grad[PARAMETERS] = {0}, total = 0.0;
    double *w1 = p, *w2 = w1 + WIDE * (IN + 1), *w3 = w2 + WIDE * (WIDE + 1);
    double *g1 = grad, *g2 = g1 + WIDE * (IN + 1), *g3 = g2 + WIDE * (WIDE + 1);
    for (int s = 0; s < samples; s++) {
        const double *x = X + IN * s;
        double h1[WIDE], h2[WIDE], d1[WIDE] = {0}, d2[WIDE];
        for (int j = 0; j < WIDE; j++) {
            double sum = w1[j * (IN + 1) + IN];
            for (int k = 0; k < IN; k++)
                sum += w1[j * (IN + 1) + k] * x[k];
            h1[j] = sum > 0 ? sum : 0;
        }
        for (int j = 0; j < WIDE; j++) {
            double sum = w2[j * (WIDE + 1) + WIDE];
            for (int k = 0; k < WIDE; k++)
                sum += w2[j * (WIDE + 1) + k] * h1[k];
            h2[j] = sum > 0 ? sum : 0;
        }
        double score = w3[WIDE];
        for (int k = 0; k < WIDE; k++)
            score += w3[k] * h2[k];
        double margin = 1 - y[s] * score;
        total += (margin > 0 ? margin : 0) / samples;
        double d = (margin > 0 ? -y[s] : 0) / samples;
        for (int k = 0; k < WIDE; k++) {
            g3[k] += d * h2[k];
            d2[k] = (h2[k] > 0) * (d * w3[k]);
        }
        g3[WIDE] += d;
        for (int j = 0; j < WIDE; j++) {
            for (int k = 0; k < WIDE; k++) {
                g2[j * (WIDE + 1) + k] += d2[j] * h1[k];
                d1[k] += d2[j] * w2[j * (WIDE + 1) + k];
            }
            g2[j * (WIDE + 1) + WIDE] += d2[j];
        }
        for (int j = 0; j < WIDE; j++) {
            double e = (h1[j] > 0) * d1[j];
            for (int k = 0; k < IN; k++)
                g1[j * (IN + 1) + k] += e * x[k];
            g1[j * (IN + 1) + IN] += e;
        }
    }
    for (int i = 0; i < PARAMETERS; i++) {
        total += 1e-4 * p[i] * p[i];
        p[i] -= rate * (grad[i] + 2e-4 * p[i]);
    }
    return total;
}

/* `steps` steps in one call, for problems so small that a call through ctypes takes longer than a step. */
double train_steps(double *p, const double *X, const double *y, int samples, const int *sizes, int layers, int loss,
                   double rate, int steps)
{
    double total = 0.0;
    for (int i = 0; i < steps; i++)
        total = train_step(p, X, y, samples, sizes, layers, loss, rate);
    return total;
}

/* One training step of the recurrent network of cases/rnn.py, written by hand, called through ctypes: 4 tanh neurons over
   [x, hidden], a linear readout, the mean squared error of the next value. Parameters are in micrograd's order. */

#include <math.h>

enum { HIDDEN = 4, CELL = HIDDEN + 2, PARAMETERS = HIDDEN * CELL + HIDDEN + 1, MAX_STEPS = 1000 };

/* `series` has a row of `steps` + 1 values for each sequence. Returns the sum of the sequences' losses. */
double rnn_step(double *p, const double *series, int sequences, int steps, double rate)
{
    static double hidden[MAX_STEPS + 1][HIDDEN], errors[MAX_STEPS];
    double (*cell)[CELL] = (double (*)[CELL])p, *readout = p + HIDDEN * CELL;
    double gcell[HIDDEN][CELL] = {{0}}, greadout[HIDDEN + 1] = {0}, total = 0.0;
    for (int s = 0; s < sequences; s++, series += steps + 1) {
        for (int t = 0; t < steps; t++) {
            double *h = hidden[t], *next = hidden[t + 1], score = readout[HIDDEN];
            for (int j = 0; j < HIDDEN; j++) {
                double sum = cell[j][0] * series[t];
                for (int i = 0; i < HIDDEN; i++)
                    sum += cell[j][1 + i] * h[i];
                next[j] = tanh(sum + cell[j][1 + HIDDEN]);
            }
            for (int j = 0; j < HIDDEN; j++)
                score += readout[j] * next[j];
            errors[t] = score - series[t + 1];
            total += errors[t] * errors[t] / steps;
        }
        double g[HIDDEN] = {0}; /* of the hidden state after step t */
        for (int t = steps - 1; t >= 0; t--) {
            const double *h = hidden[t], *next = hidden[t + 1];
            double e = 2 * errors[t] / steps, before[HIDDEN] = {0};
            greadout[HIDDEN] += e;
            for (int j = 0; j < HIDDEN; j++) {
                greadout[j] += e * next[j];
                double d = (g[j] + e * readout[j]) * (1 - next[j] * next[j]);
                gcell[j][0] += d * series[t];
                gcell[j][1 + HIDDEN] += d;
                for (int i = 0; i < HIDDEN; i++) {
                    gcell[j][1 + i] += d * h[i];
                    before[i] += d * cell[j][1 + i];
                }
            }
            for (int i = 0; i < HIDDEN; i++)
                g[i] = before[i];
        }
    }
    for (int j = 0; j < HIDDEN; j++)
        for (int i = 0; i < CELL; i++)
            cell[j][i] -= rate * gcell[j][i];
    for (int i = 0; i <= HIDDEN; i++)
        readout[i] -= rate * greadout[i];
    return total;
}

/* The loss of a one-layer character GPT and its gradients, written by hand, called through ctypes. The parameters are in
   scalar_gpt.py's order, the gradients in the same. One position after the other forward, then in the reverse order
   backward. */

#include <math.h>
#include <string.h>

enum { VOCABULARY = 27, WIDTH = 16, HEADS = 4, SIZE = WIDTH / HEADS, HIDDEN = 4 * WIDTH, CONTEXT = 16 };

typedef struct {
    double token[VOCABULARY][WIDTH], position[CONTEXT][WIDTH];
    double query[WIDTH][WIDTH], key[WIDTH][WIDTH], value[WIDTH][WIDTH], out[WIDTH][WIDTH];
    double up[HIDDEN][WIDTH], down[WIDTH][HIDDEN], head[VOCABULARY][WIDTH];
} Parameters;

/* What the forward pass of one position keeps for the backward pass. */
typedef struct {
    double x[WIDTH], x_scale;             /* the embedding after the first norm, the residual of attention */
    double a[WIDTH], a_scale;             /* its norm, the input of attention */
    double query[WIDTH], key[WIDTH], value[WIDTH];
    double weights[HEADS][CONTEXT];       /* of the positions up to this one */
    double heads[WIDTH];
    double y[WIDTH];                      /* after attention, the residual of the perceptron */
    double b[WIDTH], b_scale;             /* its norm, the input of the perceptron */
    double hidden[HIDDEN];
    double z[WIDTH];                      /* after the perceptron */
    double probabilities[VOCABULARY];
} Position;

/* y = w x, for w of `rows` rows and `columns` columns. */
static inline void linear(int rows, int columns, const double *restrict w, const double *restrict x, double *restrict y)
{
    for (int i = 0; i < rows; i++) {
        double sum = 0.0;
        for (int j = 0; j < columns; j++)
            sum += w[i * columns + j] * x[j];
        y[i] = sum;
    }
}

/* Adds the gradients of w and of x, given those of y = w x. */
static inline void linear_back(int rows, int columns, const double *restrict w, const double *restrict x,
                               const double *restrict gy, double *restrict gw, double *restrict gx)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            gw[i * columns + j] += gy[i] * x[j];
            gx[j] += gy[i] * w[i * columns + j];
        }
}

/* y = x / sqrt(mean of the x^2 + 1e-5); returns the factor. */
static inline double norm(const double *restrict x, double *restrict y)
{
    double sum = 0.0;
    for (int i = 0; i < WIDTH; i++)
        sum += x[i] * x[i];
    double scale = 1 / sqrt(sum / WIDTH + 1e-5);
    for (int i = 0; i < WIDTH; i++)
        y[i] = x[i] * scale;
    return scale;
}

/* Adds the gradient of x, given that of y, its norm. */
static inline void norm_back(const double *restrict y, double scale, const double *restrict gy, double *restrict gx)
{
    double sum = 0.0;
    for (int i = 0; i < WIDTH; i++)
        sum += gy[i] * y[i];
    for (int i = 0; i < WIDTH; i++)
        gx[i] += scale * (gy[i] - y[i] * sum / WIDTH);
}

/* x = softmax(x); returns the log of the sum of exponentials. */
static inline double softmax(int n, double *x)
{
    double highest = x[0], sum = 0.0;
    for (int i = 1; i < n; i++)
        highest = x[i] > highest ? x[i] : highest;
    for (int i = 0; i < n; i++)
        sum += x[i] = exp(x[i] - highest);
    for (int i = 0; i < n; i++)
        x[i] /= sum;
    return highest + log(sum);
}

/* The loss at one position; `s` is the state of all positions, filled up to this one. */
static double forward(const Parameters *p, Position *s, int at, int token, int target)
{
    Position *o = s + at;
    double embedded[WIDTH];
    for (int i = 0; i < WIDTH; i++)
        embedded[i] = p->token[token][i] + p->position[at][i];
    o->x_scale = norm(embedded, o->x);
    o->a_scale = norm(o->x, o->a);
    linear(WIDTH, WIDTH, *p->query, o->a, o->query);
    linear(WIDTH, WIDTH, *p->key, o->a, o->key);
    linear(WIDTH, WIDTH, *p->value, o->a, o->value);
    memset(o->heads, 0, sizeof o->heads);
    for (int h = 0; h < HEADS; h++) {
        double *weights = o->weights[h];
        for (int j = 0; j <= at; j++) {
            double score = 0.0;
            for (int i = h * SIZE; i < (h + 1) * SIZE; i++)
                score += o->query[i] * s[j].key[i];
            weights[j] = score / sqrt(SIZE);
        }
        softmax(at + 1, weights);
        for (int j = 0; j <= at; j++)
            for (int i = h * SIZE; i < (h + 1) * SIZE; i++)
                o->heads[i] += weights[j] * s[j].value[i];
    }
    linear(WIDTH, WIDTH, *p->out, o->heads, o->y);
    for (int i = 0; i < WIDTH; i++)
        o->y[i] += o->x[i];
    o->b_scale = norm(o->y, o->b);
    linear(HIDDEN, WIDTH, *p->up, o->b, o->hidden);
    for (int i = 0; i < HIDDEN; i++)
        o->hidden[i] = o->hidden[i] > 0 ? o->hidden[i] : 0;
    linear(WIDTH, HIDDEN, *p->down, o->hidden, o->z);
    for (int i = 0; i < WIDTH; i++)
        o->z[i] += o->y[i];
    linear(VOCABULARY, WIDTH, *p->head, o->z, o->probabilities);
    double logit = o->probabilities[target];
    return softmax(VOCABULARY, o->probabilities) - logit;
}

/* Adds the gradients of `scale` times the loss at one position; `gkeys` and `gvalues` are those of the keys and values of
   all positions, to which the later positions have been added. */
static void backward(const Parameters *p, const Position *s, int at, int token, int target, double scale, Parameters *g,
                     double (*gkeys)[WIDTH], double (*gvalues)[WIDTH])
{
    const Position *o = s + at;
    double glogits[VOCABULARY], gz[WIDTH] = {0}, ghidden[HIDDEN] = {0}, gb[WIDTH] = {0}, gheads[WIDTH] = {0};
    double gquery[WIDTH] = {0}, ga[WIDTH] = {0}, gembedded[WIDTH] = {0};
    for (int i = 0; i < VOCABULARY; i++)
        glogits[i] = scale * (o->probabilities[i] - (i == target));
    linear_back(VOCABULARY, WIDTH, *p->head, o->z, glogits, *g->head, gz);
    linear_back(WIDTH, HIDDEN, *p->down, o->hidden, gz, *g->down, ghidden);
    for (int i = 0; i < HIDDEN; i++)
        ghidden[i] = o->hidden[i] > 0 ? ghidden[i] : 0;
    linear_back(HIDDEN, WIDTH, *p->up, o->b, ghidden, *g->up, gb);
    double *gy = gz; /* z = y + ..., y = x + ... */
    norm_back(o->b, o->b_scale, gb, gy);
    linear_back(WIDTH, WIDTH, *p->out, o->heads, gy, *g->out, gheads);
    for (int h = 0; h < HEADS; h++) {
        const double *weights = o->weights[h];
        double gweights[CONTEXT], mean = 0.0;
        for (int j = 0; j <= at; j++) {
            double sum = 0.0;
            for (int i = h * SIZE; i < (h + 1) * SIZE; i++) {
                sum += gheads[i] * s[j].value[i];
                gvalues[j][i] += gheads[i] * weights[j];
            }
            gweights[j] = sum;
            mean += sum * weights[j];
        }
        for (int j = 0; j <= at; j++) {
            double gscore = weights[j] * (gweights[j] - mean) / sqrt(SIZE);
            for (int i = h * SIZE; i < (h + 1) * SIZE; i++) {
                gquery[i] += gscore * s[j].key[i];
                gkeys[j][i] += gscore * o->query[i];
            }
        }
    }
    linear_back(WIDTH, WIDTH, *p->query, o->a, gquery, *g->query, ga);
    linear_back(WIDTH, WIDTH, *p->key, o->a, gkeys[at], *g->key, ga);
    linear_back(WIDTH, WIDTH, *p->value, o->a, gvalues[at], *g->value, ga);
    double *gx = gy;
    norm_back(o->a, o->a_scale, ga, gx);
    norm_back(o->x, o->x_scale, gx, gembedded);
    for (int i = 0; i < WIDTH; i++) {
        g->token[token][i] += gembedded[i];
        g->position[at][i] += gembedded[i];
    }
}

/* The sum over documents of the mean loss of their positions, and its gradients. A document is `length` + 1 tokens, with
   at most CONTEXT + 1. */
double gpt(const Parameters *p, const int *tokens, int documents, int length, Parameters *gradients)
{
    Position state[CONTEXT];
    double total = 0.0;
    memset(gradients, 0, sizeof *gradients);
    for (int d = 0; d < documents; d++, tokens += length + 1) {
        double gkeys[CONTEXT][WIDTH] = {{0}}, gvalues[CONTEXT][WIDTH] = {{0}};
        for (int t = 0; t < length; t++)
            total += forward(p, state, t, tokens[t], tokens[t + 1]) / length;
        for (int t = length - 1; t >= 0; t--)
            backward(p, state, t, tokens[t], tokens[t + 1], 1.0 / length, gradients, gkeys, gvalues);
    }
    return total;
}

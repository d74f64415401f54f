/* Sums of products of two factors that vary, for lanes_loops.h: single ones, and runs of them. In no mode do forward
   loops fuse. */

static void F(dots)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width) {
    for (ptrdiff_t at = 0; at < width; at += TILE) {
        vec sum[SUM_PARTS];
        for (int p = 0; p < SUM_PARTS; p++)
            sum[p] = OF(base + slots[1] * stride + at + p * VEC);
        for (int i = 2; i < count; i += 2) {
            const double *a = base + slots[i] * stride + at, *b = base + slots[i + 1] * stride + at;
            for (int p = 0; p < SUM_PARTS; p++)
                sum[p] += OF(a + p * VEC) * OF(b + p * VEC);
        }
        for (int p = 0; p < SUM_PARTS; p++)
            AT(base + slots[0] * stride + at + p * VEC) = sum[p];
    }
}

static void F(dots_one)(double *base, const int *slots, int count) {
    double sum = base[slots[1]];
    for (int i = 2; i < count; i += 2)
        sum += base[slots[i]] * base[slots[i + 1]];
    base[slots[0]] = sum;
}

static void F(back_dots)(double *base, ptrdiff_t stride, const int *slots, int count, const int *accumulate,
                         ptrdiff_t width) {
    const double *g = base + slots[0] * stride;
    for (int i = 1; i < count; i += 4, accumulate += 2) {
        const double *a = base + slots[i] * stride, *b = base + slots[i + 1] * stride;
        if (slots[i + 2] >= 0)
            F(back_product)(base + slots[i + 2] * stride, b, g, accumulate[0], width);
        if (slots[i + 3] >= 0)
            F(back_product)(base + slots[i + 3] * stride, a, g, accumulate[1], width);
    }
}

static void F(back_dots_one)(double *base, const int *slots, int count, const int *accumulate) {
    double g = base[slots[0]];
    for (int i = 1; i < count; i += 4, accumulate += 2) {
        double a = base[slots[i]], b = base[slots[i + 1]];
        if (slots[i + 2] >= 0)
            base[slots[i + 2]] = accumulate[0] ? MADD_ONE(base[slots[i + 2]], b, g) : b * g;
        if (slots[i + 3] >= 0)
            base[slots[i + 3]] = accumulate[1] ? MADD_ONE(base[slots[i + 3]], a, g) : a * g;
    }
}

/* ---- Runs: plan.pxi has the headers and slots of DOT_RUN and BACK_DOT_RUN ---------------------------- */

/* `rows` sums, of the lanes at `base`. */
LANES_INLINE void F(dot_run_tile)(double *base, ptrdiff_t stride, const int *h, const int *slots, const int rows) {
    vec sum[4][SUM_PARTS];
    const double *a[4], *b[4];
    for (int r = 0; r < rows; r++, slots += LANES_DOT_SLOTS) {
        a[r] = base + slots[2] * stride;
        b[r] = base + slots[3] * stride;
        for (int p = 0; p < SUM_PARTS; p++)
            sum[r][p] = OF(base + slots[1] * stride + p * VEC);
    }
    for (int k = 0; k < h[0]; k++)
        for (int r = 0; r < rows; r++)
            for (int p = 0; p < SUM_PARTS; p++)
                sum[r][p] += OF(a[r] + k * h[1] * stride + p * VEC) * OF(b[r] + k * h[2] * stride + p * VEC);
    for (int r = rows - 1; r >= 0; r--) {
        slots -= LANES_DOT_SLOTS;
        for (int p = 0; p < SUM_PARTS; p++)
            AT(base + slots[0] * stride + p * VEC) = sum[r][p];
    }
}

LANES_INLINE void F(dot_run_rows)(double *base, const int *h, const int *slots, const int rows) {
    double sum[4];
    const double *a[4], *b[4];
    ptrdiff_t a_step = h[1], b_step = h[2];
    for (int r = 0; r < rows; r++) {
        sum[r] = base[slots[LANES_DOT_SLOTS * r + 1]];
        a[r] = base + slots[LANES_DOT_SLOTS * r + 2];
        b[r] = base + slots[LANES_DOT_SLOTS * r + 3];
    }
    for (int k = 0; k < h[0]; k++)
        for (int r = 0; r < rows; r++)
            sum[r] += a[r][k * a_step] * b[r][k * b_step];
    for (int r = 0; r < rows; r++)
        base[slots[LANES_DOT_SLOTS * r]] = sum[r];
}

static void F(dot_run)(double *base, ptrdiff_t stride, const int *h, const int *slots, int count, ptrdiff_t width) {
    const int *end = slots + count;
    for (; end - slots >= 4 * LANES_DOT_SLOTS; slots += 4 * LANES_DOT_SLOTS)
        if (stride == 1)
            F(dot_run_rows)(base, h, slots, 4);
        else
            for (ptrdiff_t at = 0; at < width; at += TILE)
                F(dot_run_tile)(base + at, stride, h, slots, 4);
    for (; slots < end; slots += LANES_DOT_SLOTS)
        if (stride == 1)
            F(dot_run_rows)(base, h, slots, 1);
        else
            for (ptrdiff_t at = 0; at < width; at += TILE)
                F(dot_run_tile)(base + at, stride, h, slots, 1);
}

/* Backward, the targets of one factor: d[k] = or += g y[k], with y the other factor. Sums that follow each other and
   have the same targets add to these at once. */
static inline int F(same_targets)(const int *slots, int count, int side) {
    int same = 1;
    while (same < count && slots[LANES_BACK_DOT_SLOTS * same + 3 + side] == slots[3 + side])
        same++;
    return same;
}

#define GAIN_ARGUMENTS \
    double *base, ptrdiff_t stride, const int *slots, int side, int count, int accumulate, ptrdiff_t d_step, \
    ptrdiff_t y_step

/* The targets of `columns` terms from k on, of the lanes at `base`. */
LANES_INLINE void F(gain_tile)(GAIN_ARGUMENTS, int k, const int columns) {
    vec sum[4][SUM_PARTS];
    double *d = base + (slots[3 + side] + k * d_step) * stride;
    for (int q = 0; q < columns; q++)
        for (int p = 0; p < SUM_PARTS; p++)
            sum[q][p] = accumulate ? (vec)OF(d + q * d_step * stride + p * VEC) : (vec){0};
    for (int i = 0; i < count; i++, slots += LANES_BACK_DOT_SLOTS) {
        const double *g = base + slots[0] * stride, *y = base + (slots[2 - side] + k * y_step) * stride;
        for (int p = 0; p < SUM_PARTS; p++) {
            vec factor = OF(g + p * VEC);
            for (int q = 0; q < columns; q++)
                sum[q][p] = MADD(sum[q][p], factor, OF(y + q * y_step * stride + p * VEC));
        }
    }
    for (int q = 0; q < columns; q++)
        for (int p = 0; p < SUM_PARTS; p++)
            AT(d + q * d_step * stride + p * VEC) = sum[q][p];
}

static void F(gain)(GAIN_ARGUMENTS, int terms, ptrdiff_t width) {
    for (ptrdiff_t at = 0; at < width; at += TILE) {
        int k = 0;
        for (; k + 4 <= terms; k += 4)
            F(gain_tile)(base + at, stride, slots, side, count, accumulate, d_step, y_step, k, 4);
        for (; k < terms; k++)
            F(gain_tile)(base + at, stride, slots, side, count, accumulate, d_step, y_step, k, 1);
    }
}

/* Of one lane. Where the slots of targets and factors are side by side, in vectors of terms. */
static inline void F(gain_one)(GAIN_ARGUMENTS, int terms) {
    double *d = base + slots[3 + side], g[8];
    const double *y[8];
    for (int n; count > 0; count -= n, accumulate = 1) {
        int i, k = 0;
        n = count < 8 ? count : 8;
        for (i = 0; i < n; i++, slots += LANES_BACK_DOT_SLOTS) {
            g[i] = base[slots[0]];
            y[i] = base + slots[2 - side];
        }
        for (; k < terms && d_step == 1 && y_step == 1; k += VEC) {
            int some = terms - k < VEC ? terms - k : VEC;
            vec sum = accumulate ? F(load_some)(d + k, some) : (vec){0};
            for (i = 0; i < n; i++)
                sum = MADD(sum, BROADCAST(g[i]), F(load_some)(y[i] + k, some));
            F(store_some)(d + k, some, sum);
        }
        for (; k < terms; k++) {
            double sum = accumulate ? d[k * d_step] : 0.0;
            for (i = 0; i < n; i++)
                sum = MADD_ONE(sum, g[i], y[i][k * y_step]);
            d[k * d_step] = sum;
        }
    }
}

#undef GAIN_ARGUMENTS

static void F(back_dot_run)(double *base, ptrdiff_t stride, const int *h, const int *slots, int count,
                            ptrdiff_t width) {
    int sums = count / LANES_BACK_DOT_SLOTS, side, i, same;
    for (side = 0; side < 2; side++)
        for (i = 0; i < sums && slots[3 + side] >= 0; i += same) {
            const int *s = slots + LANES_BACK_DOT_SLOTS * i, accumulate = h[LANES_BACK_DOT_FLAGS + 2 * i + side];
            same = F(same_targets)(s, sums - i, side);
            if (stride == 1)
                F(gain_one)(base, 1, s, side, same, accumulate, h[3 + side], h[2 - side], h[0]);
            else
                F(gain)(base, stride, s, side, same, accumulate, h[3 + side], h[2 - side], h[0], width);
        }
}

#undef SUM_PARTS

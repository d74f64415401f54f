/* Sums of products, for lanes_loops.h. With several lanes they go tile by tile: the sums of up to ROWS outputs and
   STEP lanes stay in registers. With one, a tile is of up to PARTS vectors of outputs. */

#define PARTS (STEP / VEC)
#define SUM_PARTS (TILE / VEC)
#define MOST_PARTS (PARTS > SUM_PARTS ? PARTS : SUM_PARTS)

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

/* ---- Layers of several lanes ------------------------------------------------------------------- */

#define LAYER_ARGUMENTS \
    double *base, ptrdiff_t stride, const int *out, int outputs, const int *in, int inputs, const double *w, \
    const double *numbers, const int *biases, ptrdiff_t width

/* `rows` outputs from `first` on, of `parts` vectors of lanes from `at` on; both are constants where it is called, for
   the compiler to unroll. */
LANES_INLINE void F(layer_tile)(LAYER_ARGUMENTS, const int rows, const int parts, int first, ptrdiff_t at) {
    vec sum[ROWS][MOST_PARTS];
    const double *w_row[ROWS];
    for (int r = 0; r < rows; r++) {
        w_row[r] = w + (ptrdiff_t)(first + r) * inputs;
        for (int p = 0; p < parts; p++)
            sum[r][p] = numbers ? BROADCAST(numbers[first + r])
                                : (vec)OF(base + biases[first + r] * stride + at + p * VEC);
    }
    for (int j = 0; j < inputs; j++) {
        const double *x = base + in[j] * stride + at;
        vec value[MOST_PARTS];
        for (int p = 0; p < parts; p++)
            value[p] = OF(x + p * VEC);
        for (int r = 0; r < rows; r++) {
            vec weight = BROADCAST(w_row[r][j]);
            for (int p = 0; p < parts; p++)
                sum[r][p] = MADD(sum[r][p], weight, value[p]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < parts; p++)
            AT(base + out[first + r] * stride + at + p * VEC) = sum[r][p];
}

#define LAYER_TILE(rows, parts) F(layer_tile)(base, stride, out, outputs, in, inputs, w, numbers, biases, width, \
                                              rows, parts, i, at)

static void F(layer)(LAYER_ARGUMENTS) {
    int i = 0;
    ptrdiff_t at;
    for (; i + ROWS <= outputs; i += ROWS) {
        for (at = 0; at + STEP <= width; at += STEP)
            LAYER_TILE(ROWS, PARTS);
        for (; at < width; at += TILE)
            LAYER_TILE(ROWS, SUM_PARTS);
    }
    for (; i + 4 <= outputs && ROWS > 4; i += 4) {
        for (at = 0; at + STEP <= width; at += STEP)
            LAYER_TILE(4, PARTS);
        for (; at < width; at += TILE)
            LAYER_TILE(4, SUM_PARTS);
    }
    for (; i < outputs; i++)
        for (at = 0; at < width; at += TILE)
            LAYER_TILE(1, SUM_PARTS);
}

#define PACK_ARGUMENTS \
    const double *base, ptrdiff_t stride, const int *slots, int count, double *packed, ptrdiff_t pitch, ptrdiff_t live

#define OUTER_ARGUMENTS \
    const double *base, ptrdiff_t stride, const int *slots, int count, const double *packed, ptrdiff_t pitch, \
    double *w, ptrdiff_t live

/* `rows` rows of w from `row` on, `parts` vectors of it. */
LANES_INLINE void F(outer_tile)(OUTER_ARGUMENTS, const int rows, const int parts, int row, ptrdiff_t column) {
    vec sum[ROWS][MOST_PARTS];
    const double *a[ROWS];
    w += row * pitch + column;
    packed += column;
    for (int r = 0; r < rows; r++) {
        a[r] = base + slots[row + r] * stride;
        for (int p = 0; p < parts; p++)
            sum[r][p] = OF(w + r * pitch + p * VEC);
    }
    for (ptrdiff_t i = 0; i < live; i++) {
        vec value[MOST_PARTS];
        for (int p = 0; p < parts; p++)
            value[p] = OF(packed + i * pitch + p * VEC);
        for (int r = 0; r < rows; r++) {
            vec factor = BROADCAST(a[r][i]);
            for (int p = 0; p < parts; p++)
                sum[r][p] = MADD(sum[r][p], factor, value[p]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < parts; p++)
            AT(w + r * pitch + p * VEC) = sum[r][p];
}

#define OUTER_TILE(rows, parts) F(outer_tile)(base, stride, slots, count, packed, pitch, w, live, rows, parts, row, \
                                              column)

static void F(outer)(OUTER_ARGUMENTS) {
    ptrdiff_t column = 0;
    int row;
    for (; column + STEP <= pitch; column += STEP) {
        for (row = 0; row + ROWS <= count; row += ROWS)
            OUTER_TILE(ROWS, PARTS);
        for (; row + 2 <= count; row += 2)
            OUTER_TILE(2, PARTS);
        if (row < count)
            OUTER_TILE(1, PARTS);
    }
    for (; column < pitch; column += TILE) {
        for (row = 0; row + ROWS <= count; row += ROWS)
            OUTER_TILE(ROWS, SUM_PARTS);
        for (; row + 2 <= count; row += 2)
            OUTER_TILE(2, SUM_PARTS);
        if (row < count)
            OUTER_TILE(1, SUM_PARTS);
    }
}

/* `columns` slots from the one at `column` on: a row of the packed ones is written at once. */
static inline void F(pack_columns)(PACK_ARGUMENTS, const int columns, int column) {
    const double *a[4];
    for (int j = 0; j < columns; j++)
        a[j] = base + slots[column + j] * stride;
    packed += column;
    for (ptrdiff_t i = 0; i < live; i++)
        for (int j = 0; j < columns; j++)
            packed[i * pitch + j] = a[j][i];
}

static void F(pack)(PACK_ARGUMENTS) {
    int column = 0;
    for (; column + 4 <= count; column += 4)
        F(pack_columns)(base, stride, slots, count, packed, pitch, live, 4, column);
    for (; column < count; column++)
        F(pack_columns)(base, stride, slots, count, packed, pitch, live, 1, column);
    for (; column < pitch; column++)
        for (ptrdiff_t i = 0; i < live; i++)
            packed[i * pitch + column] = 0.0;
}

/* TILE running sums of what TERM is at `at + p * VEC`, added up. */
#define RUNNING_SUMS(TERM) \
    vec sum[SUM_PARTS]; \
    double s[TILE]; \
    for (int p = 0; p < SUM_PARTS; p++) \
        sum[p] = (vec){0}; \
    for (ptrdiff_t at = 0; at < width; at += TILE) \
        for (int p = 0; p < SUM_PARTS; p++) \
            sum[p] = TERM; \
    memcpy(s, sum, sizeof s); \
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))

static double F(total)(const double *g, ptrdiff_t width) {
    RUNNING_SUMS(sum[p] + OF(g + at + p * VEC));
}

#if !EXACT
static double F(total_product)(const double *a, const double *b, ptrdiff_t width) {
    RUNNING_SUMS(MADD(sum[p], OF(a + at + p * VEC), OF(b + at + p * VEC)));
}
#endif

#undef RUNNING_SUMS

/* ---- Layers of one lane ------------------------------------------------------------------------ */

/* `parts` vectors of outputs, or with VEC 1 as many doubles. */
LANES_INLINE void F(matvec_tile)(double *out, const double *in, int inputs, const double *w, ptrdiff_t pitch,
                                 const double *initial, const int parts) {
    vec sum[4];
    for (int p = 0; p < parts; p++)
        sum[p] = OF(initial + p * VEC);
    for (int j = 0; j < inputs; j++) {
        vec x = BROADCAST(in[j]);
        for (int p = 0; p < parts; p++)
            sum[p] = MADD(sum[p], OF(w + j * pitch + p * VEC), x);
    }
    for (int p = 0; p < parts; p++)
        AT(out + p * VEC) = sum[p];
}

static void F(matvec)(double *out, int outputs, const double *in, int inputs, const double *w, ptrdiff_t pitch,
                      const double *initial) {
    int i = 0;
    for (; i + 4 * VEC <= outputs; i += 4 * VEC)
        F(matvec_tile)(out + i, in, inputs, w + i, pitch, initial + i, 4);
    for (; i + 2 * VEC <= outputs; i += 2 * VEC)
        F(matvec_tile)(out + i, in, inputs, w + i, pitch, initial + i, 2);
    for (; i + VEC <= outputs; i += VEC)
        F(matvec_tile)(out + i, in, inputs, w + i, pitch, initial + i, 1);
    for (; i < outputs; i++) {
        double sum = initial[i];
        for (int j = 0; j < inputs; j++)
            sum = MADD_ONE(sum, w[j * pitch + i], in[j]);
        out[i] = sum;
    }
}

static void F(rank_one)(double *w, ptrdiff_t pitch, const double *a, int rows, const double *b, int columns) {
    for (int r = 0; r < rows; r++, w += pitch) {
        int j = 0;
        vec factor = BROADCAST(a[r]);
        for (; j + VEC <= columns; j += VEC)
            AT(w + j) = MADD(OF(w + j), factor, OF(b + j));
        for (; j < columns; j++)
            w[j] = MADD_ONE(w[j], a[r], b[j]);
    }
}

#undef OUTER_TILE
#undef OUTER_ARGUMENTS
#undef PACK_ARGUMENTS
#undef LAYER_TILE
#undef LAYER_ARGUMENTS
#undef MOST_PARTS
#undef SUM_PARTS
#undef PARTS

/* Sums of products, for lanes_loops.h. With several lanes they go tile by tile: the sums of up to ROWS outputs and
   STEP lanes stay in registers, or of one output and 4 vectors of lanes. With one, a tile is of up to 4 vectors of
   outputs. */

#define PARTS (STEP / VEC)
#define SUM_PARTS (TILE / VEC)
#define MOST_PARTS (SUM_PARTS > 4 ? SUM_PARTS : 4)

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
    for (; i < outputs; i++) {
        for (at = 0; at + 4 * VEC <= width; at += 4 * VEC)
            LAYER_TILE(1, 4);
        for (; at < width; at += TILE)
            LAYER_TILE(1, SUM_PARTS);
    }
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

/* The first n doubles at p, and zeros. */
LANES_INLINE vec F(load_some)(const double *p, int n) {
#ifdef LOAD_SOME
    return LOAD_SOME(p, n);
#else
    double x[VEC] = {0};
    for (int i = 0; i < n; i++)
        x[i] = p[i];
    return OF(x);
#endif
}

LANES_INLINE void F(store_some)(double *p, int n, vec v) {
#ifdef STORE_SOME
    STORE_SOME(p, n, v);
#else
    double x[VEC];
    AT(x) = v;
    for (int i = 0; i < n; i++)
        p[i] = x[i];
#endif
}

/* `rows` rows of c from `row` on, and `parts` vectors of columns from `column` on, which are whole, or the last one has
   `some` columns. */
LANES_INLINE void F(multiply_tile)(const Product *p, const int rows, const int parts, const int whole, int some,
                                   int row, int column) {
    vec sum[8][4];
    ptrdiff_t a_pitch = p->a_pitch, a_step = p->a_step, b_pitch = p->b_pitch;
    const double *a = p->a + row * a_pitch, *b = p->b + column;
    double *c = p->c + row * p->c_pitch + column;
    #define LAST(q) (!whole && (q) == parts - 1)
    #define LOAD(x, q) (LAST(q) ? F(load_some)((x) + (q) * VEC, some) : (vec)OF((x) + (q) * VEC))
    for (int r = 0; r < rows; r++)
        for (int q = 0; q < parts; q++)
            sum[r][q] = p->initial ? LOAD(p->initial + (row + r) * p->initial_pitch + column, q) : (vec){0};
    for (int k = 0; k < p->depth; k++, a += a_step, b += b_pitch) {
        vec value[4];
        for (int q = 0; q < parts; q++)
            value[q] = LOAD(b, q);
        for (int r = 0; r < rows; r++) {
            vec factor = BROADCAST(a[r * a_pitch]);
            for (int q = 0; q < parts; q++)
                sum[r][q] = MADD(sum[r][q], factor, value[q]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int q = 0; q < parts; q++)
            if (LAST(q))
                F(store_some)(c + r * p->c_pitch + q * VEC, some, sum[r][q]);
            else
                AT(c + r * p->c_pitch + q * VEC) = sum[r][q];
    #undef LOAD
    #undef LAST
}

LANES_INLINE void F(multiply_rows)(const Product *p, const int rows, int row) {
    int column = 0, left;
    for (; rows == 1 && column + 4 * VEC <= p->columns; column += 4 * VEC)
        F(multiply_tile)(p, rows, 4, 1, 0, row, column);
    for (; column + 2 * VEC <= p->columns; column += 2 * VEC)
        F(multiply_tile)(p, rows, 2, 1, 0, row, column);
    left = p->columns - column;
    if (left > VEC)
        F(multiply_tile)(p, rows, 2, 0, left - VEC, row, column);
    else if (left == VEC)
        F(multiply_tile)(p, rows, 1, 1, 0, row, column);
    else if (left)
        F(multiply_tile)(p, rows, 1, 0, left, row, column);
}

static void F(multiply)(const Product *p) {
    const int tiles = p->depth > 1 || p->columns <= 2 * VEC;  /* else row by row, as it stands in memory */
    int row = 0;
    for (; row + 8 <= p->rows && tiles && VEC > 2; row += 8)  /* as many as registers hold */
        F(multiply_rows)(p, 8, row);
    for (; row + 4 <= p->rows && tiles; row += 4)
        F(multiply_rows)(p, 4, row);
    for (; row < p->rows; row++)
        F(multiply_rows)(p, 1, row);
}

#undef OUTER_TILE
#undef OUTER_ARGUMENTS
#undef PACK_ARGUMENTS
#undef LAYER_TILE
#undef LAYER_ARGUMENTS
#undef MOST_PARTS
#undef PARTS

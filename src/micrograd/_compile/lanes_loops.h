/* The loops of lanes.h for vectors of VEC doubles. Sums of products go tile by tile, STEP lanes of ROWS outputs, which
   stay in registers. Names end in VARIANT. */

#define F(name) LANES_NAME(name, VARIANT)
#define PARTS (STEP / VEC)
#define LANE_TILE (STEP == 1 ? 1 : TILE)
#define SUM_PARTS (LANE_TILE / VEC)

#if VEC == 1
typedef double F(vec), F(memory);
#else
typedef double F(vec) __attribute__((vector_size(VEC * 8)));
typedef double F(memory) __attribute__((vector_size(VEC * 8), aligned(8), may_alias));
#endif
#define vec F(vec)
#define AT(p) (*(F(memory) *)(p))
#define OF(p) (*(const F(memory) *)(p))
#define BROADCAST(x) ((x) - (vec){0})  /* minus: 0.0 + -0.0 would be 0.0 */
#define EACH_VEC(i) for (ptrdiff_t i = 0; i < width; i += VEC)

static void F(add)(double *r, const double *a, const double *b, ptrdiff_t width) {
    EACH_VEC(i) AT(r + i) = OF(a + i) + OF(b + i);
}

static void F(sub)(double *r, const double *a, const double *b, ptrdiff_t width) {
    EACH_VEC(i) AT(r + i) = OF(a + i) - OF(b + i);
}

static void F(mul)(double *r, const double *a, const double *b, ptrdiff_t width) {
    EACH_VEC(i) AT(r + i) = OF(a + i) * OF(b + i);
}

static void F(neg)(double *r, const double *a, ptrdiff_t width) {
    EACH_VEC(i) AT(r + i) = -OF(a + i);
}

static void F(relu)(double *r, const double *a, ptrdiff_t width) {
    for (ptrdiff_t i = 0; i < width; i++)
        r[i] = a[i] < 0.0 ? 0.0 : a[i];
}

static void F(back_linear)(double *d, double slope, const double *g, int accumulate, ptrdiff_t width) {
    if (accumulate)
        EACH_VEC(i) AT(d + i) += slope * OF(g + i);
    else
        EACH_VEC(i) AT(d + i) = slope * OF(g + i);
}

static inline void F(back_product)(double *d, const double *x, const double *g, int accumulate, ptrdiff_t width) {
    if (accumulate)
        EACH_VEC(i) AT(d + i) += OF(x + i) * OF(g + i);
    else
        EACH_VEC(i) AT(d + i) = OF(x + i) * OF(g + i);
}

static void F(back_relu)(double *d, const double *r, const double *g, int accumulate, ptrdiff_t width) {
    ptrdiff_t i;
    if (accumulate)
        for (i = 0; i < width; i++)
            d[i] += (r[i] > 0.0 ? 1.0 : 0.0) * g[i];
    else
        for (i = 0; i < width; i++)
            d[i] = (r[i] > 0.0 ? 1.0 : 0.0) * g[i];
}

static void F(dots)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width) {
    for (ptrdiff_t at = 0; at < width; at += STEP) {
        vec sum[PARTS];
        for (int p = 0; p < PARTS; p++)
            sum[p] = OF(base + slots[1] * stride + at + p * VEC);
        for (int i = 2; i < count; i += 2) {
            const double *a = base + slots[i] * stride + at, *b = base + slots[i + 1] * stride + at;
            for (int p = 0; p < PARTS; p++)
                sum[p] += OF(a + p * VEC) * OF(b + p * VEC);
        }
        for (int p = 0; p < PARTS; p++)
            AT(base + slots[0] * stride + at + p * VEC) = sum[p];
    }
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

static void F(sum)(double *base, ptrdiff_t stride, const int *slots, int count, ptrdiff_t width) {
    double *r = base + slots[0] * stride;
    memset(r, 0, width * sizeof(double));
    for (int i = 1; i < count; i++)
        F(add)(r, r, base + slots[i] * stride, width);
}

#define LAYER_ARGUMENTS \
    double *base, ptrdiff_t stride, const int *out, int outputs, const int *in, int inputs, const double *w, \
    const double *numbers, const int *biases, ptrdiff_t width

/* `count` outputs from `first` on; `count` is a constant where it is called, for the compiler to unroll. */
static inline void F(layer_outputs)(LAYER_ARGUMENTS, const int count, int first) {
    for (ptrdiff_t at = 0; at < width; at += STEP) {
        vec sum[ROWS][PARTS];
        const double *w_row[ROWS];
        for (int r = 0; r < count; r++) {
            w_row[r] = w + (ptrdiff_t)(first + r) * inputs;
            for (int p = 0; p < PARTS; p++)
                sum[r][p] = numbers ? BROADCAST(numbers[first + r])
                                    : (vec)OF(base + biases[first + r] * stride + at + p * VEC);
        }
        for (int j = 0; j < inputs; j++) {
            const double *x = base + in[j] * stride + at;
            for (int r = 0; r < count; r++)
                for (int p = 0; p < PARTS; p++)
                    sum[r][p] += w_row[r][j] * OF(x + p * VEC);
        }
        for (int r = 0; r < count; r++)
            for (int p = 0; p < PARTS; p++)
                AT(base + out[first + r] * stride + at + p * VEC) = sum[r][p];
    }
}

static void F(layer)(LAYER_ARGUMENTS) {
    int i = 0;
    for (; i + ROWS <= outputs; i += ROWS)
        F(layer_outputs)(base, stride, out, outputs, in, inputs, w, numbers, biases, width, ROWS, i);
    for (; i < outputs; i++)
        F(layer_outputs)(base, stride, out, outputs, in, inputs, w, numbers, biases, width, 1, i);
}

#define PACK_ARGUMENTS \
    const double *base, ptrdiff_t stride, const int *slots, int count, double *packed, ptrdiff_t pitch, ptrdiff_t live

#define OUTER_ARGUMENTS \
    const double *base, ptrdiff_t stride, const int *slots, int count, const double *packed, ptrdiff_t pitch, \
    double *w, ptrdiff_t live

/* The sum of TILE running sums. */
static inline double F(fold)(const vec *sum) {
    double s[TILE];
    memcpy(s, sum, LANE_TILE * sizeof *s);
    if (LANE_TILE == 1)
        return s[0];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static double F(total)(const double *g, ptrdiff_t width) {
    vec sum[SUM_PARTS];
    for (int p = 0; p < SUM_PARTS; p++)
        sum[p] = (vec){0};
    for (ptrdiff_t at = 0; at < width; at += LANE_TILE)
        for (int p = 0; p < SUM_PARTS; p++)
            sum[p] += OF(g + at + p * VEC);
    return F(fold)(sum);
}

/* `rows` rows of w from `row` on, STEP columns of it. */
static inline void F(outer_tile)(OUTER_ARGUMENTS, const int rows, int row, ptrdiff_t column) {
    vec sum[ROWS][PARTS];
    const double *a[ROWS];
    w += row * pitch + column;
    packed += column;
    for (int r = 0; r < rows; r++) {
        a[r] = base + slots[row + r] * stride;
        for (int p = 0; p < PARTS; p++)
            sum[r][p] = OF(w + r * pitch + p * VEC);
    }
    for (ptrdiff_t i = 0; i < live; i++)
        for (int r = 0; r < rows; r++)
            for (int p = 0; p < PARTS; p++)
                sum[r][p] += a[r][i] * OF(packed + i * pitch + p * VEC);
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < PARTS; p++)
            AT(w + r * pitch + p * VEC) = sum[r][p];
}

static void F(outer)(OUTER_ARGUMENTS) {
    for (ptrdiff_t column = 0; column < pitch; column += STEP) {
        int row = 0;
        for (; row + ROWS <= count; row += ROWS)
            F(outer_tile)(base, stride, slots, count, packed, pitch, w, live, ROWS, row, column);
        for (; row + 2 <= count; row += 2)
            F(outer_tile)(base, stride, slots, count, packed, pitch, w, live, 2, row, column);
        if (row < count)
            F(outer_tile)(base, stride, slots, count, packed, pitch, w, live, 1, row, column);
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

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
static const Lanes F(lanes) = {
    STRINGIFY(VARIANT), F(add), F(sub), F(mul), F(neg), F(relu), F(back_linear), F(back_product), F(back_relu),
    F(dots), F(back_dots), F(sum), F(layer), F(pack), F(outer), F(total),
};

#undef STRINGIFY
#undef STRINGIFY_
#undef PACK_ARGUMENTS
#undef OUTER_ARGUMENTS
#undef LAYER_ARGUMENTS
#undef EACH_VEC
#undef BROADCAST
#undef OF
#undef AT
#undef vec
#undef SUM_PARTS
#undef LANE_TILE
#undef PARTS
#undef F
#undef ROWS
#undef STEP
#undef VEC
#undef VARIANT

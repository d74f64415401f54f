/* The loops for one machine, TARGET, in both modes. */

#define EXACT 1
#define VARIANT LANES_NAME(TARGET, exact)
#include "lanes_loops.h"
#undef VARIANT
#undef EXACT

#define EXACT 0
#define VARIANT LANES_NAME(TARGET, fast)
#include "lanes_loops.h"
#undef VARIANT
#undef EXACT

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
static const Variant LANES_NAME(variant, TARGET) = {
    STRINGIFY(TARGET),
    &LANES_NAME(lanes, LANES_NAME(TARGET, fast)),
    &LANES_NAME(lanes, LANES_NAME(TARGET, exact)),
};

#undef STRINGIFY
#undef STRINGIFY_
#undef BLEND
#undef EQUAL
#undef LESS
#undef STORE_SOME
#undef LOAD_SOME
#undef FUSED
#undef ROWS
#undef STEP
#undef VEC
#undef TARGET

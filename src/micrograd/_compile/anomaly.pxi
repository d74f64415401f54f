# Anomaly detection (micrograd.utils.detect_anomaly) in calls of compiled functions: outputs and gradients are checked,
# what is computed on the way is not.
#
# Gives check_outputs, check_gradients and check_sums, which raise RuntimeError with the sample. Uses arguments.pxi,
# program.pxi, execute.pxi, and of _core user_line.

cdef object anomaly(str what, Batch batch=None, Py_ssize_t sample=-1):
    """The error. `sample`: which of the batch it is, if it is one of several."""
    if sample >= 0:
        batch.failed = batch.place(sample)
        what = f"sample {batch.failed}: {what}"
    advice = "Called without compile() in detect_anomaly(), the function names the op"
    return RuntimeError(f"{user_line()}: {what}. {advice}")


cdef Py_ssize_t not_finite(const double *x, Py_ssize_t count) noexcept nogil:
    """The index of the first number that is NaN or infinite, or -1."""
    cdef Py_ssize_t i
    for i in range(count):
        if not isfinite(x[i]):
            return i
    return -1


cdef int check_outputs(const double *x, Py_ssize_t samples, Py_ssize_t outputs, Batch batch) except -1:
    """Check the outputs of all samples of a batch, or of one sample without a batch."""
    cdef Py_ssize_t i = not_finite(x, samples * outputs)
    if i >= 0:
        raise anomaly(f"a compiled function gives {x[i]}", batch, -1 if batch is None else i // outputs)
    return 0


cdef int check_gradients(const double *grads, Py_ssize_t count, Batch batch=None, Py_ssize_t sample=-1) except -1:
    """Check the gradients of one output, or of the sum over samples."""
    cdef Py_ssize_t i = not_finite(grads, count)
    if i >= 0:
        raise anomaly(f"a compiled function passes on a gradient of {grads[i]}", batch, sample)
    return 0


cdef int check_sums(Replay replay) except -1:
    """Check the sum over the samples and its gradients. If one is not finite, find the first sample that is the cause.
    """
    cdef Py_ssize_t sample, count = len(replay.program.trace.captured) if replay.mode != FORWARD else 0
    cdef double total = replay.total()
    cdef Replay single
    if isfinite(total) and not_finite(replay.grads(), count) < 0:
        return 0
    for sample in range(replay.batch.samples):
        single = Replay(replay.program, replay.mode, replay.batch.only(sample), replay.exact)
        single.seeds[0] = replay.seeds[0]
        if single.mode == FORWARD:
            single.run(1)
        else:
            single.gradients(1)  # raises nothing: the batch has not
        total = single.total()
        if not isfinite(total):
            raise anomaly(f"a compiled function gives {total}", replay.batch, sample)
        check_gradients(single.grads(), count, replay.batch, sample)
    raise anomaly("the sum over the samples of a compiled function, or of its gradients, is not finite")

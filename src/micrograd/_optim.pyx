# cython: boundscheck=True, wraparound=True
# The loops of optim/ and utils.py: one call reads and writes the nodes of all the parameters it is given. optim/ has
# the options, their ranges and the layout of state_dict(); _optim/adam.h has Adam's loop.

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.math cimport INFINITY, fabs, isinf, isnan, pow, sqrt
from libc.string cimport memcmp
from micrograd._core.capi cimport PySequence_Fast_ITEMS
from micrograd._core cimport Value, trace_check_change, trace_check_read, to_double, traces
from micrograd._core.debug cimport static_check
from micrograd._core.node cimport LEAF, Node, node_of


def number(x, str what):
    """x as a float. Raises TypeError that names `what` where x is no number."""
    return to_double(x, what)


def is_leaf(Value value not None):
    """Is the Value a leaf, not the result of an op?"""
    return value.node.form == LEAF


cdef inline Node *param_node(PyObject *o) except NULL:
    """The node of a parameter. Raises TypeError where it is no Value."""
    if not isinstance(<object>o, Value):
        raise TypeError(f"a parameter must be a Value, not {type(<object>o).__name__!r}")
    return node_of(o)


cdef inline Node *grad_node(PyObject *o, str what) except NULL:
    """param_node() for an operation on its grad. Raises TraceError that names the operation, `what`, in a trace."""
    cdef Node *n = param_node(o)
    trace_check_read(n, what)
    return n


# ---- State ---------------------------------------------------------------------------------------

@cython.final
cdef class State:
    """The state of an optimizer for the parameters of a group: `width` numbers for each, a tuple in `values()`.

    It holds the parameters, so that their nodes are alive while a loop reads them, even if the group's list is changed.
    """

    cdef readonly tuple params
    cdef Py_ssize_t count
    cdef Py_ssize_t width
    cdef double *columns  # `width` arrays of `count` numbers each, one after the other

    def __cinit__(self, params, values, Py_ssize_t width):
        cdef Py_ssize_t i, column
        cdef tuple numbers
        self.params = tuple(params)
        self.count = len(self.params)
        self.width = width
        self.columns = <double *>PyMem_Calloc(max(self.count * width, 1), sizeof(double))
        if self.columns == NULL:
            raise MemoryError
        for param in self.params:
            param_node(<PyObject *>param)
        i = 0
        for numbers in values:
            if i == self.count or len(numbers) != width:
                raise ValueError(f"state of more than {self.count} parameters, or not of {width} numbers each")
            for column in range(width):
                self.columns[column * self.count + i] = to_double(numbers[column], "a parameter's state")
            i += 1
        if i != self.count:
            raise ValueError(f"state of {i} parameters for {self.count}")

    def __dealloc__(self):
        PyMem_Free(self.columns)

    cdef int expect(self, Py_ssize_t width) except -1:
        """Raise ValueError unless there are `width` numbers for each parameter."""
        if self.width != width:
            raise ValueError(f"state of {self.width} numbers a parameter, where {width} are needed")
        return 0

    cdef bint is_of(self, params) noexcept:
        """Is this the state of the parameters in a list, in their order?"""
        return (isinstance(params, list) and len(<list>params) == self.count
                and (self.count == 0  # an empty list may have no items to point to
                     or memcmp(PySequence_Fast_ITEMS(<PyObject *>params),
                               PySequence_Fast_ITEMS(<PyObject *>self.params), self.count * sizeof(PyObject *)) == 0))

    def values(self):
        """The numbers, a tuple for each parameter."""
        cdef Py_ssize_t i, column
        cdef list numbers, values = []
        for i in range(self.count):
            numbers = []
            for column in range(self.width):
                numbers.append(self.columns[column * self.count + i])
            values.append(tuple(numbers))
        return values

    cdef int clear_grads(self) except -1:
        cdef PyObject **params = PySequence_Fast_ITEMS(<PyObject *>self.params)
        cdef Py_ssize_t i
        for i in range(self.count if traces != NULL else 0):
            trace_check_read(node_of(params[i]), "zero_grad() of")
        for i in range(self.count):
            node_of(params[i]).grad = 0.0
        return 0

    def __reduce__(self):
        return State, (self.params, self.values(), self.width)


# ---- Methods of Optimizer ------------------------------------------------------------------------

cpdef list synced(self):
    """The states of an optimizer, one for each group. Groups may be edited: each call checks their parameters, and
    makes the states anew if these have changed."""
    cdef list states = self._states
    cdef Py_ssize_t i = 0
    for group in self.param_groups:
        if i >= len(states) or not (<State?>states[i]).is_of(group["params"]):
            return self._renewed()
        i += 1
    return states if i == len(states) else self._renewed()


# step() and zero_grad() are methods of the class Optimizer in optim/. With `binding`, a function in C becomes a
# method of a class as a Python function does.

@cython.binding(True)
def step(self, closure=None):
    """Update the parameters' data from their grads.

    With a `closure`, call it first, to clear the grads, compute the loss and call its `backward()`, and return what
    it returns.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> x = Value(1.0)
    >>> optimizer = SGD([x], lr=0.1)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = x * x
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure), x
    (Value(data=1.0, grad=1.0), Value(data=0.8, grad=2.0))

    Raises TypeError or ValueError where `param_groups` were changed to what the constructor would not take.
    """
    cdef Py_ssize_t i = 0
    cdef list states
    loss = None if closure is None else closure()
    states = synced(self)
    for state in states if traces != NULL else ():
        for param in (<State>state).params:
            trace_check_change(node_of(<PyObject *>param), "an optimizer's step() at")
    for group in self.param_groups:
        self._update(states[i], group)
        i += 1
    return loss


@cython.binding(True)
def zero_grad(self, set_to_none=True):
    """Set the grad of every parameter to 0.0. `set_to_none` has no effect, since a grad is always a float; programs for
    PyTorch may pass it.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> x = Value(1.0)
    >>> (x * x).backward()
    >>> SGD([x]).zero_grad()
    >>> x.grad
    0.0
    """
    cdef State state
    for state in synced(self):
        state.clear_grads()


# ---- Updates -------------------------------------------------------------------------------------

def sgd(State state not None, group):
    """One step of SGD. A parameter's state is (1.0 if it has a momentum buffer else 0.0, the momentum buffer)."""
    cdef double lr = to_double(group["lr"], "lr")
    cdef double momentum = to_double(group["momentum"], "momentum")
    cdef double undamped = 1.0 - to_double(group["dampening"], "dampening")
    cdef double weight_decay = to_double(group["weight_decay"], "weight_decay")
    cdef bint nesterov = group["nesterov"]
    cdef double sign = -1.0 if group["maximize"] else 1.0
    cdef PyObject **params = PySequence_Fast_ITEMS(<PyObject *>state.params)
    cdef double *has_buffer = state.columns
    cdef double *buffer = has_buffer + state.count
    cdef Node *n
    cdef double g
    cdef Py_ssize_t i
    state.expect(2)
    for i in range(state.count):
        n = node_of(params[i])
        g = sign * n.grad
        if weight_decay != 0.0:
            g += weight_decay * n.data
        if momentum != 0.0:
            buffer[i] = momentum * buffer[i] + undamped * g if has_buffer[i] else g
            has_buffer[i] = 1.0
            g = g + momentum * buffer[i] if nesterov else buffer[i]
        n.data -= lr * g


cdef extern from "_optim/adam.h" nogil:
    ctypedef struct Adam:
        double lr, eps, beta1, beta2, sign, decay, kept
        int amsgrad
    ctypedef void (*AdamLoop)(const Adam *, PyObject **, double *, double *, double *, Py_ssize_t) noexcept
    AdamLoop adam_best()
    bint adam_fits(Node *n)

static_check(adam_fits(<Node *>NULL))
cdef AdamLoop adam_loop = adam_best()


cdef Adam adam_options(group) except *:
    """The options of a group, other than those that change with the step: lr and eps are not corrected yet."""
    cdef Adam o
    cdef bint decoupled = group["decoupled_weight_decay"]
    o.lr = to_double(group["lr"], "lr")
    o.eps = to_double(group["eps"], "eps")
    o.beta1 = to_double(group["betas"][0], "betas[0]")
    o.beta2 = to_double(group["betas"][1], "betas[1]")
    o.decay = to_double(group["weight_decay"], "weight_decay")
    o.kept = 1.0
    o.amsgrad = bool(group["amsgrad"])
    o.sign = -1.0 if group["maximize"] else 1.0
    if decoupled:
        o.kept = 1.0 - o.lr * o.decay
        o.decay = 0.0
    return o


def adam(State state not None, group):
    """One step of Adam or AdamW. A parameter's state is (step, exp_avg, exp_avg_sq, max_exp_avg_sq).

    lr m^ / (sqrt(v^) + eps) is computed as lr' m / (sqrt(v) + eps'), as at the end of section 2 of the paper. That
    takes one division a parameter less, and divisions take most of the time.
    """
    cdef Adam o = adam_options(group)
    cdef double lr = o.lr, eps = o.eps
    cdef PyObject **params = PySequence_Fast_ITEMS(<PyObject *>state.params)
    cdef double *steps = state.columns
    cdef double *average = steps + state.count
    cdef double *square = average + state.count
    cdef double *largest = square + state.count
    cdef double step = 0.0, correction
    cdef Py_ssize_t i, start = 0, end
    state.expect(4)
    if not (0.0 <= o.beta1 < 1.0 and 0.0 <= o.beta2 < 1.0):  # 1.0 would divide by zero
        raise ValueError(f"Invalid betas: {group['betas']}")
    for i in range(state.count):
        steps[i] += 1.0
    while start < state.count:
        # All parameters at once if they have taken the same number of steps; one by one if some were added later.
        end = start + 1
        if start == 0 and memcmp(steps, steps + 1, (state.count - 1) * sizeof(double)) == 0:
            end = state.count
        if steps[start] != step:
            step = steps[start]
            correction = sqrt(1.0 - pow(o.beta2, step))
            o.lr = lr * correction / (1.0 - pow(o.beta1, step))
            o.eps = eps * correction
        adam_loop(&o, params + start, average + start, square + start, largest + start, end - start)
        start = end


def rmsprop(State state not None, group):
    """One step of RMSprop. A parameter's state is (step, square_avg, momentum_buffer, grad_avg)."""
    cdef double lr = to_double(group["lr"], "lr")
    cdef double alpha = to_double(group["alpha"], "alpha")
    cdef double eps = to_double(group["eps"], "eps")
    cdef double weight_decay = to_double(group["weight_decay"], "weight_decay")
    cdef double momentum = to_double(group["momentum"], "momentum")
    cdef bint centered = group["centered"]
    cdef double sign = -1.0 if group["maximize"] else 1.0
    cdef double rest = 1.0 - alpha
    cdef PyObject **params = PySequence_Fast_ITEMS(<PyObject *>state.params)
    cdef double *steps = state.columns
    cdef double *square = steps + state.count
    cdef double *buffer = square + state.count
    cdef double *average = buffer + state.count
    cdef Node *n
    cdef double g, root
    cdef Py_ssize_t i
    state.expect(4)
    for i in range(state.count):
        n = node_of(params[i])
        steps[i] += 1.0
        g = sign * n.grad
        if weight_decay != 0.0:
            g += weight_decay * n.data
        square[i] = alpha * square[i] + rest * g * g
        if centered:
            # As torch.lerp: the first form is exact for rest = 0, the second for alpha = 0, where the root has to be 0.
            average[i] = average[i] + rest * (g - average[i]) if rest < 0.5 else g - alpha * (g - average[i])
            root = sqrt(square[i] - average[i] * average[i]) + eps
        else:
            root = sqrt(square[i]) + eps
        if momentum > 0.0:
            buffer[i] = momentum * buffer[i] + g / root
            n.data -= lr * buffer[i]
        else:
            n.data -= lr * g / root


# ---- Grads ---------------------------------------------------------------------------------------

cdef int all_values(list params) except -1:
    """Raise TypeError unless all are Values. To be called first, so that all grads change or none."""
    for param in params:
        grad_node(<PyObject *>param, "assigning .grad of")
    return 0


def grad_norm(list params not None, double order):
    """(sum of |grad|**order)**(1/order): the norm of the grads as one vector, as torch.linalg.vector_norm has it."""
    cdef double norm = INFINITY if order == -INFINITY and params else 0.0
    cdef double g
    for param in params:
        g = fabs(grad_node(<PyObject *>param, "reading .grad of").grad)
        if order == 2.0:
            norm += g * g
        elif isinf(order):
            if isnan(g) or (g > norm if order > 0.0 else g < norm):
                norm = g
        elif order == 0.0:
            norm += g != 0.0
        else:
            norm += pow(g, order)
    if not params or order == 0.0 or isinf(order):
        return norm
    return sqrt(norm) if order == 2.0 else pow(norm, 1.0 / order)


def scale_grads(list params not None, double factor):
    """Multiply every grad by `factor`."""
    all_values(params)
    for param in params:
        param_node(<PyObject *>param).grad *= factor


def clamp_grads(list params not None, double limit):
    """Move every grad to the nearest number in [-limit, limit]; NaN stays."""
    cdef Node *n
    all_values(params)
    for param in params:
        n = param_node(<PyObject *>param)
        if n.grad > limit:
            n.grad = limit
        elif n.grad < -limit:
            n.grad = -limit

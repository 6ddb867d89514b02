"""Elementwise primitives: one ONNX operator each, or a few where ONNX has none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value, constant
from tidemill.training.export.shapes import broadcast

SAME = {
    "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "max": "Max", "min": "Min", "neg": "Neg",
    "abs": "Abs", "sign": "Sign", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "floor": "Floor", "ceil": "Ceil",
    "tanh": "Tanh", "logistic": "Sigmoid", "erf": "Erf", "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin",
    "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh",
    "atanh": "Atanh",
}  # fmt: skip
COMPARED = {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}
LOGICAL = {"and": ("And", "BitwiseAnd"), "or": ("Or", "BitwiseOr"), "xor": ("Xor", "BitwiseXor")}
FLOAT_ONLY = {
    "Exp", "Log", "Sqrt", "Floor", "Ceil", "Tanh", "Sigmoid", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan",
    "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
}  # fmt: skip
# What leaves the other operand as it is, on either side or on the right only.
NEUTRAL = {"Add": 0.0, "Mul": 1.0, "Max": -math.inf, "Min": math.inf}
NEUTRAL_RIGHT = {"Sub": 0.0, "Div": 1.0}


def apply(call: Call, op: str, *values: Value, dtype: Any = None) -> Value:
    """One elementwise operator on values as they are held."""
    held = broadcast(*(value.held for value in values))
    shape = broadcast(*(value.shape for value in values))
    return call.graph.emit(op, values, shape, values[0].dtype if dtype is None else dtype, held=held)


def number(value: Any, like: Value) -> Value:
    """A scalar of the type of another value."""
    return constant(np.asarray(value, like.dtype))


def is_all(value: Value, content: float) -> bool:
    """Whether a value is known and is this number everywhere."""
    return (
        value.array is not None and value.array.size == 1 and value.array.dtype != bool and bool(value.array == content)
    )


def same(call: Call, *values: Value) -> Value:
    """A primitive that is one ONNX operator; without the node where it changes nothing."""
    op = SAME[call.primitive]
    if values[0].dtype == bool or (op in FLOAT_ONLY and values[0].dtype.kind != "f"):
        raise call.refuse(f"it has no kernel for {values[0].dtype}")
    if call.params.get("accuracy") is not None:
        raise call.refuse("the parameter accuracy is not supported")
    return simplified(call, op, *values)


def simplified(call: Call, op: str, *values: Value) -> Value:
    """Apply an operator, or return the operand it leaves as it is; max(x, 0) is Relu."""
    if len(values) == 2:
        left, right = values
        if is_all(right, NEUTRAL.get(op, NEUTRAL_RIGHT.get(op, math.nan))):
            return left.like(call.shape)
        if is_all(left, NEUTRAL.get(op, math.nan)):
            return right.like(call.shape)
        if op == "Max" and call.dtype == np.float32 and is_all(right, 0.0):
            return replace(apply(call, "Relu", left), shape=call.shape)
        if op == "Max" and call.dtype == np.float32 and is_all(left, 0.0):
            return replace(apply(call, "Relu", right), shape=call.shape)
    return replace(apply(call, op, *values), shape=call.shape)


def divide(call: Call, left: Value, right: Value) -> Value:
    """Integers are divided only by a constant that is not 0: ONNX Runtime stops the process on x / 0."""
    _check_divisor(call, right)
    return simplified(call, "Div", left, right)


def remainder(call: Call, left: Value, right: Value) -> Value:
    """The remainder with the sign of the dividend."""
    _check_divisor(call, right)
    held = broadcast(left.held, right.held)
    return call.graph.emit("Mod", [left, right], call.shape, call.dtype, held=held, fmod=1)


def _check_divisor(call: Call, right: Value) -> None:
    if right.dtype.kind != "f" and (right.array is None or not np.all(right.array)):
        raise call.refuse("integers can only be divided by a constant that is not 0", "Divide floats instead.")


def compare(call: Call, left: Value, right: Value) -> Value:
    """Comparisons; false where an operand is NaN, as in JAX."""
    if left.dtype == bool and call.primitive not in ("eq", "ne"):
        raise call.refuse("truth values have no order in ONNX")
    if call.primitive == "ne":
        return apply(call, "Not", apply(call, "Equal", left, right, dtype=bool)).like(call.shape)
    return apply(call, COMPARED[call.primitive], left, right, dtype=bool).like(call.shape)


def logical(call: Call, left: Value, right: Value) -> Value:
    """And, or, xor: of truth values, or of bits."""
    return apply(call, LOGICAL[call.primitive][left.dtype != bool], left, right).like(call.shape)


def negate(call: Call, value: Value) -> Value:
    """Not, of truth values or of bits."""
    return apply(call, "Not" if value.dtype == bool else "BitwiseNot", value)


def select(call: Call, which: Value, *cases: Value) -> Value:
    """select_n: the case a truth value or an index names."""
    if which.dtype == bool:
        if len(cases) == 1:
            return cases[0]
        off, on = cases
        if which.array is not None and which.array.size == 1:
            return (on if which.array else off).like(call.shape)
        return _where(call, which, on, off)
    chosen = cases[-1]
    for at in reversed(range(len(cases) - 1)):  # an index past the ends names the nearest case
        chosen = _where(call, apply(call, "LessOrEqual", which, number(at, which), dtype=bool), cases[at], chosen)
    return chosen


def _where(call: Call, which: Value, on: Value, off: Value) -> Value:
    return apply(call, "Where", which, on, off, dtype=on.dtype).like(call.shape)


def clamp(call: Call, low: Value, value: Value, high: Value) -> Value:
    """min(max(value, low), high), with Clip where the bounds are scalars."""
    if low.held == () and high.held == ():
        return call.graph.emit("Clip", [value, low, high], call.shape, call.dtype, held=value.held)
    return apply(call, "Min", apply(call, "Max", value, low), high).like(call.shape)


def integer_power(call: Call, value: Value) -> Value:
    """x**y for a fixed integer y, by repeated squaring as JAX does it."""
    return _power(call, value, int(call.params["y"]))


def _power(call: Call, value: Value, power: int) -> Value:
    if power == 0:
        return replace(number(1, value), shape=call.shape)
    if power < 0:
        if value.dtype.kind != "f":
            raise call.refuse("an integer has no negative power")
        return apply(call, "Reciprocal", _power(call, value, -power))
    result = None
    while power:
        if power & 1:
            result = value if result is None else apply(call, "Mul", result, value)
        power >>= 1
        value = apply(call, "Mul", value, value) if power else value
    return result or value


def power(call: Call, base: Value, exponent: Value) -> Value:
    """x**y."""
    if base.dtype.kind != "f":
        raise call.refuse("the base must be a float")
    return simplified(call, "Pow", base, call.graph.cast(exponent, base.dtype))


def square(call: Call, value: Value) -> Value:
    """x * x."""
    return apply(call, "Mul", value, value)


def rsqrt(call: Call, value: Value) -> Value:
    """1 / sqrt(x)."""
    return apply(call, "Reciprocal", apply(call, "Sqrt", value))


def cbrt(call: Call, value: Value) -> Value:
    """The cube root, of negative numbers too."""
    root = apply(call, "Pow", apply(call, "Abs", value), number(1 / 3, value))
    return apply(call, "Mul", apply(call, "Sign", value), root)


def exp2(call: Call, value: Value) -> Value:
    """2**x."""
    return apply(call, "Pow", number(2, value), value)


def erfc(call: Call, value: Value) -> Value:
    """1 - erf(x): exact to the absolute precision of a float, not to a relative one for large x."""
    return apply(call, "Sub", number(1, value), apply(call, "Erf", value))


def log1p(call: Call, value: Value) -> Value:
    """log(1 + x) without losing small x: log(u) * x / (u - 1) with u = 1 + x (Kahan, HP-15C manual, 1982)."""
    one = number(1, value)
    u = apply(call, "Add", value, one)
    log_u, off = apply(call, "Log", u), apply(call, "Sub", u, one)
    exact = apply(call, "Mul", log_u, apply(call, "Div", value, off))
    small = apply(call, "Where", apply(call, "Equal", u, one, dtype=bool), value, exact, dtype=value.dtype)
    # Where u - 1 = x the quotient is 1, or inf / inf: the logarithm is right as it is.
    return apply(call, "Where", apply(call, "Equal", off, value, dtype=bool), log_u, small, dtype=value.dtype)


def expm1(call: Call, value: Value) -> Value:
    """exp(x) - 1 without losing small x: 2 t / (1 - t) with t = tanh(x / 2) between -1/2 and 1/2."""
    one = number(1, value)
    t = apply(call, "Tanh", apply(call, "Mul", value, number(0.5, value)))
    near = apply(call, "Div", apply(call, "Add", t, t), apply(call, "Sub", one, t))
    far = apply(call, "Sub", apply(call, "Exp", value), one)
    is_near = apply(call, "Less", apply(call, "Abs", value), number(0.5, value), dtype=bool)
    return apply(call, "Where", is_near, near, far, dtype=value.dtype)


def is_finite(call: Call, value: Value) -> Value:
    """Neither infinite nor NaN: NaN is less than nothing."""
    return apply(call, "Less", apply(call, "Abs", value), number(np.inf, value), dtype=bool)


def round_(call: Call, value: Value) -> Value:
    """To the nearest integer: halves to even, or away from zero, which ONNX does not know."""
    if int(call.params["rounding_method"]) == 1:
        return apply(call, "Round", value)
    size = apply(call, "Abs", value)
    whole = apply(call, "Floor", size)
    up = apply(call, "GreaterOrEqual", apply(call, "Sub", size, whole), number(0.5, value), dtype=bool)
    rounded = apply(call, "Add", whole, call.graph.cast(up, value.dtype))
    return apply(call, "Mul", apply(call, "Sign", value), rounded)


def convert(call: Call, value: Value) -> Value:
    """Change the type; a float past the range of an integer gives its end, as in JAX, and NaN gives 0."""
    target = call.dtype
    if value.dtype.kind == "f" and target.kind in "iu":
        limits = np.iinfo(target)
        low, high = (np.asarray(limit, value.dtype) for limit in (limits.min, limits.max))
        inside = apply(
            call, "Where", apply(call, "Equal", value, value, dtype=bool), value, number(0, value), dtype=value.dtype
        )
        if float(high) > limits.max:  # 2**31 is a float, 2**31 - 1 is not
            return _saturated(call, inside, constant(low), constant(high))
        value = call.graph.emit(
            "Clip", [inside, constant(low), constant(high)], value.shape, value.dtype, held=value.held
        )
    return call.graph.cast(value, target)


def _saturated(call: Call, value: Value, low: Value, high: Value) -> Value:
    below = constant(np.nextafter(high.content, low.content, dtype=value.dtype))
    clipped = call.graph.emit("Clip", [value, low, below], value.shape, value.dtype, held=value.held)
    top = constant(np.asarray(np.iinfo(call.dtype).max, call.dtype))
    over = apply(call, "GreaterOrEqual", value, high, dtype=bool)
    return apply(call, "Where", over, top, call.graph.cast(clipped, call.dtype), dtype=call.dtype)


def identity(call: Call, value: Value, *others: Value) -> Value | list[Value]:
    """What changes no number: copies, gradients stopped, hints to the compiler."""
    return [value, *others] if others else value


def reduce_precision(call: Call, value: Value) -> Value:
    """Rounding to fewer bits, supported where it keeps all of them."""
    info = np.finfo(value.dtype)
    if call.params["exponent_bits"] < info.nexp or call.params["mantissa_bits"] < info.nmant:
        raise call.refuse("numbers cannot be rounded to fewer bits")
    return value


def dimension(call: Call) -> Value:
    """A symbolic size as a number."""
    size = call.graph.size(str(call.params["dim"]))
    return call.graph.cast(call.graph.reshape(size, ()).like(()), call.dtype)


ELEMENTWISE: dict[str, Handler] = {
    **dict.fromkeys(SAME, same),
    **dict.fromkeys((*COMPARED, "ne"), compare),
    **dict.fromkeys(LOGICAL, logical),
    "not": negate, "div": divide, "rem": remainder, "select_n": select, "clamp": clamp, "pow": power,
    "integer_pow": integer_power, "square": square, "rsqrt": rsqrt, "cbrt": cbrt, "exp2": exp2, "erfc": erfc,
    "log1p": log1p, "expm1": expm1, "is_finite": is_finite, "round": round_, "convert_element_type": convert,
    "reduce_precision": reduce_precision,
}  # fmt: skip
IDENTITIES: dict[str, Handler] = dict.fromkeys(
    ("copy", "copy_p", "stop_gradient", "device_put", "optimization_barrier", "name", "sharding_constraint"), identity
)
HANDLERS: dict[str, Handler] = {**ELEMENTWISE, **IDENTITIES, "dim_as_value": dimension}

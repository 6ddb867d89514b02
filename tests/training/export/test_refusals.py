"""What the exporter does not know, it refuses by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

CASES = {
    "fft": lambda x: jnp.abs(jnp.fft.rfft(x)),
    "cholesky": lambda x: jnp.linalg.cholesky(jnp.eye(6) + x.T @ x),
    "solve": lambda x: jnp.linalg.solve(jnp.eye(6) + x.T @ x, ROW),
    "random_fixed": lambda x: x + jax.random.normal(jax.random.key(0), (6,)),
    "random_batch": lambda x: x + jax.random.normal(jax.random.key(0), x.shape),
    "dropout": lambda x: jnp.where(jax.random.bernoulli(jax.random.PRNGKey(0), 0.5, x.shape), x, 0),
    "while": lambda x: lax.while_loop(lambda c: c.sum() < 10, lambda c: c + 1, x),
    "cond": lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
    "switch_fixed": lambda x: lax.switch(1, [jnp.sin, jnp.cos], x),
    "digamma": lambda x: jax.scipy.special.digamma(jnp.abs(x) + 1),
    "lgamma": lambda x: jax.scipy.special.gammaln(jnp.abs(x) + 1),
    "erf_inv": lambda x: lax.erf_inv(jnp.tanh(x) * 0.9),
    "bessel": lambda x: jax.scipy.special.i0e(x),
    "complex": lambda x: jnp.abs(lax.complex(x, x)),
    "half": lambda x: (x.astype(jnp.float16) * 2).astype(jnp.float32),
    "bitcast": lambda x: lax.bitcast_convert_type(x, jnp.int32),
    "callback": lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x),
    "nextafter": lambda x: jnp.nextafter(x, x + 1),
    "custom_jvp": lambda x: jax.nn.relu(jax.nn.relu(x) - 0.1),
}
REFUSED = set()
REFUSED_BACKWARD = set()


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_equal_to_jax_or_the_function_is_refused(name, outcome):
    forward, backward = outcome(CASES[name])
    assert forward == ("refused" if name in REFUSED else "equal")
    assert backward == ("refused" if name in REFUSED_BACKWARD else "equal")

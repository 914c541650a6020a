"""The context in which JAX computes in double precision, by whichever name the version has."""

try:
    from jax import enable_x64 as enable_x64
except ImportError:  # jax < 0.8
    from jax.experimental import enable_x64 as enable_x64  # pyright: ignore[reportAttributeAccessIssue]

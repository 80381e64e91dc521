"""What an RDS instance can carry, from its class."""

from infra.environment import BadEnvironmentError

_GB = {
    "micro": 1,
    "small": 2,
    "medium": 4,
    "large": 8,
    "xlarge": 16,
    "2xlarge": 32,
    "4xlarge": 64,
    "8xlarge": 128,
    "12xlarge": 192,
    "16xlarge": 256,
}
_BYTES_PER_CONNECTION = 9_531_392  # RDS's default: LEAST(DBInstanceClassMemory / 9531392, 5000)
_MOST = 5000
_FOR_THE_PRODUCT = 0.9  # DBInstanceClassMemory is what is left after RDS's own processes


def memory_gb(instance: str) -> int:
    """Memory of a class such as m7g.large. Raises BadEnvironmentError for a size that is not known here."""
    family, _, size = instance.partition(".")
    if size not in _GB:
        raise BadEnvironmentError(f"database_instance: {instance} is no class that we know; sizes: {', '.join(_GB)}")
    return _GB[size] * (2 if family.startswith("r") else 1)


def database_connections(instance: str) -> int:
    """About how many connections the instance accepts by RDS's default."""
    return min(_MOST, int(memory_gb(instance) * 1024**3 * _FOR_THE_PRODUCT / _BYTES_PER_CONNECTION))

"""The variables that several dashboards offer, and pieces of expressions that they share."""

from dashboards.model import Text, Variable

MODEL = Variable("model", "model", "vitrine_exchanges_total", Text("Model", "模型"))
TENANT = Variable("tenant", "tenant", "vitrine_tenant_exchanges_total", Text("Tenant", "租户"))
ENGINE = Variable("engine", "engine", "vitrine_engine_ready", Text("Engine", "引擎"))


def rate(metric: str, labels: str = "") -> str:
    """Per second."""
    return f"rate({metric}{{{labels}}}[$__rate_interval])" if labels else f"rate({metric}[$__rate_interval])"


def quantile(share: float, histogram: str, labels: str = "", by: str = "") -> str:
    """That share of the observations was at most this, for each ``by``."""
    names = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({names}) ({rate(histogram + '_bucket', labels)}))"


def happened(metric: str, by: str, labels: str = "") -> str:
    """Per second, for each ``by``; what never happened in the range that is shown has no line, or its zeros would lie on
    top of what is stacked."""
    chosen = f"{{{labels}}}" if labels else ""
    return f"sum by ({by}) ({rate(metric, labels)}) and sum by ({by}) (increase({metric}{chosen}[$__range])) > 0"


def ratio(part: str, whole: str) -> str:
    """Nothing where there was nothing at all, instead of 0 / 0."""
    return f"{part} / ({whole} > 0)"

"""Turns the tables into CloudWatch's constructs."""

from collections.abc import Iterable, Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.observability.alarm import Alarm
from infra.observability.board import Row, Widget
from infra.observability.series import Drawn, Formula, Series
from infra.stacks.monitored import MonitoredResources

RUNBOOKS = "docs/operations/runbooks"
_COLUMNS = 24
_MISSING = {
    "notBreaching": cloudwatch.TreatMissingData.NOT_BREACHING,
    "breaching": cloudwatch.TreatMissingData.BREACHING,
    "ignore": cloudwatch.TreatMissingData.IGNORE,
}


def attach(
    scope: Construct, resources: MonitoredResources, topic: sns.ITopic, alarms: Iterable[Alarm], rows: Iterable[Row]
) -> None:
    """Make ``alarms`` and the dashboard of ``rows``; each alarm tells ``topic`` when it fires and when it is over."""
    maker = _Maker(resources.namespace)
    action = actions.SnsAction(topic)
    for alarm in alarms:
        made = cloudwatch.Alarm(
            scope,
            f"alarm-{alarm.name}",
            alarm_name=f"evpower-{resources.environment}-{alarm.name}",
            alarm_description=description(alarm),
            metric=maker.metric(alarm.watched, alarm.period_s),
            threshold=alarm.threshold,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
            if alarm.below
            else cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.datapoints or alarm.periods,
            treat_missing_data=_MISSING[alarm.missing],
        )
        made.add_alarm_action(action)
        made.add_ok_action(action)
    cloudwatch.Dashboard(
        scope,
        "dashboard",
        dashboard_name=f"evpower-{resources.environment}",
        widgets=[line for row in rows for line in maker.row(row)],
        default_interval=Duration.hours(6),
    )


def description(alarm: Alarm) -> str:
    """What the mail of the alarm says."""
    urgency = "Wake somebody." if alarm.severity == "page" else "In the morning."
    return f"{alarm.symptom[0].upper()}{alarm.symptom[1:]}. {urgency} Runbook: {RUNBOOKS}/{alarm.page}.md"


class _Maker:
    """Makes metrics and widgets; the product's own metrics are in ``own_namespace``."""

    def __init__(self, own_namespace: str) -> None:
        self._own_namespace = own_namespace

    def metric(self, drawn: Drawn, period_s: int) -> cloudwatch.IMetric:
        period = Duration.seconds(period_s)
        if isinstance(drawn, Formula):
            return cloudwatch.MathExpression(
                expression=drawn.expression,
                using_metrics={name: self._series(series, period) for name, series in drawn.uses.items()},
                label=drawn.label,
                period=period,
            )
        return self._series(drawn, period)

    def _series(self, series: Series, period: Duration) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=series.namespace or self._own_namespace,
            metric_name=series.name,
            dimensions_map=dict(series.dimensions),
            statistic=series.statistic,
            label=series.label,
            period=period,
        )

    def row(self, row: Row) -> list[list[cloudwatch.IWidget]]:
        """The heading's line, and the widgets' line."""
        heading = cloudwatch.TextWidget(markdown=f"## {row.heading}", width=_COLUMNS, height=1)
        width = _COLUMNS // len(row.widgets)
        return [[heading], [self._widget(widget, width) for widget in row.widgets]]

    def _widget(self, widget: Widget, width: int) -> cloudwatch.IWidget:
        left = self._metrics(widget.left, widget.period_s)
        if widget.numbers:
            return cloudwatch.SingleValueWidget(title=widget.title, metrics=left, width=width, height=4)
        return cloudwatch.GraphWidget(
            title=widget.title,
            left=left,
            right=self._metrics(widget.right, widget.period_s),
            left_y_axis=cloudwatch.YAxisProps(min=0, label=widget.unit or None, show_units=False),
            right_y_axis=cloudwatch.YAxisProps(min=0, show_units=False),
            left_annotations=[]
            if widget.limit is None
            else [cloudwatch.HorizontalAnnotation(value=widget.limit, color=cloudwatch.Color.RED)],
            period=Duration.seconds(widget.period_s),
            width=width,
            height=6,
        )

    def _metrics(self, drawn: Sequence[Drawn], period_s: int) -> list[cloudwatch.IMetric]:
        return [self.metric(item, period_s) for item in drawn]

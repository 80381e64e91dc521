"""LocalStack runs Lambda functions in containers; with this plug-in it runs them as processes of this machine.

Loaded by LocalStack's own interpreter (:mod:`infra.local.localstack` makes the entry point), so nothing here imports
anything but the standard library, LocalStack and :mod:`infra.local.localstack_executor`.
"""

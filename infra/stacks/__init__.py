"""CDK stacks, one module each. Nothing here is imported by the product."""

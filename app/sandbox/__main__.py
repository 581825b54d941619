"""python -m app.sandbox: the gateway alone, without the rest of the product."""

from app.sandbox.command import sandbox_gateway_command

sandbox_gateway_command()

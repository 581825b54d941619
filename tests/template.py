"""Builds the control template that every test worker clones, the way `flask setup` does it."""

from app.base import installation
from app.base.db import control_session
from app.factory import create_app
from app.web.compiled import compile_templates


def build() -> None:
    """This function will make roles, schema, the cluster's row and the tenant template."""
    with installation.administrator() as connection:
        installation.prepare_cluster(connection)
        installation.create_control_database(connection)
    installation.migrate_control()
    installation.migrate_usage()
    try:
        from tenants import template
    except ImportError:
        return
    with control_session() as session:
        template.build_template(control_session=session)
    # Every process that draws pages would compile them for itself.
    compile_templates(create_app())


if __name__ == "__main__":
    build()

"""What gunicorn and the Flask CLI load."""

from app.factory import create_app

app = create_app()

"""Superset's own settings: its database is a file in its home; everything else is as it comes."""

import os

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = f"sqlite:///{os.environ.get('SUPERSET_HOME', '/app/superset_home')}/superset.db"

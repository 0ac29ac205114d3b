#!/bin/sh
# Makes Superset's database, its roles, the user and the dashboard. Running it again changes nothing but what the bundle says.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
user=${SUPERSET_USER:-admin}
superset db upgrade
superset fab create-admin --username "$user" --firstname Superset --lastname Admin --email admin@superset.com \
  --password "${SUPERSET_PASSWORD:-admin123}"
superset init
folder=$(mktemp -d)
(cd "$here" && python -m zipfile -c "$folder/bundle.zip" bundle)
superset import-dashboards --path "$folder/bundle.zip" --username "$user"
rm -r "$folder"

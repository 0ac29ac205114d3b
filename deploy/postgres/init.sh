#!/bin/bash
# Makes, in a new server, the database that Streamgauge writes and its user; and beside it, under the names and log-ins
# that other systems' clients have, databases in which the same rows can be read:
#   events_db   events, hourly_aggregations      as postgres
#   realtime    stream_metrics_minute            as rt, password rt
# Streamgauge writes one database. A name that is that one is left alone.
set -euo pipefail
: "${PIPELINE_DB:=pipeline}" "${PIPELINE_USER:=pipeline}" "${PIPELINE_PASSWORD:=pipeline}"

# Runs SQL from stdin in a database; :db, :user, :password and those given stand for values.
sql() {
  psql --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname="$1" "${@:2}" \
    --set=db="$PIPELINE_DB" --set=user="$PIPELINE_USER" --set=password="$PIPELINE_PASSWORD"
}

# Makes a database from which tables of ours can be read, with SQL from stdin; a database of that name stays as it is.
window() {
  [[ $1 != "$PIPELINE_DB" ]] || return 0
  echo 'CREATE DATABASE :"name"' | sql postgres --set=name="$1"
  {
    cat <<'SQL'
CREATE EXTENSION postgres_fdw;
SELECT current_setting('port') AS port \gset
CREATE SERVER streamgauge FOREIGN DATA WRAPPER postgres_fdw
  OPTIONS (host '127.0.0.1', port :'port', dbname :'db', updatable 'false');
CREATE USER MAPPING FOR PUBLIC SERVER streamgauge OPTIONS (user :'user', password :'password', password_required 'false');
SQL
    cat
  } | sql "$1"
}

sql postgres <<'SQL'
SELECT format('CREATE ROLE %I LOGIN CREATEDB PASSWORD %L', :'user', :'password')
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'db', :'user')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db') \gexec
SELECT 'CREATE ROLE rt LOGIN PASSWORD ''rt'''
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rt') \gexec
SQL

window events_db <<'SQL'
CREATE FOREIGN TABLE events (event_id text, user_id text, event_name text, metadata jsonb, timestamp timestamptz,
  processed_at timestamptz, session_id text) SERVER streamgauge;
CREATE FOREIGN TABLE hourly_aggregations (event_type text, window_start timestamptz, window_end timestamptz,
  event_count numeric, late_count bigint, revision bigint, is_final boolean) SERVER streamgauge;
SQL

window realtime <<'SQL'
CREATE FOREIGN TABLE stream_metrics_minute (stream_id text, window_start timestamptz, window_end timestamptz,
  active_viewers numeric, chat_messages numeric, donations_usd numeric) SERVER streamgauge;
GRANT SELECT ON stream_metrics_minute TO rt;
SQL

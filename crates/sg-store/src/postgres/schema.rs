//! Tables and views: the numbered migrations of what every store has, and what the definitions add to it. All of it in
//! one transaction behind one lock, so that any number of processes may start at once. Removes nothing: the cells of a
//! rollup that is no longer defined stay.

use sg_core::definition::{RawTable, Rollup, Stream};
use sg_core::time::Timestamp;
use tokio_postgres::error::SqlState;

use crate::answers;
use crate::faults::Faults;
use crate::names::{
    check_columns, check_distinct, check_panes, check_view, dimension_columns, key_columns, literal, quoted,
    raw_views,
};

use super::error::Error;
use super::levels;
use super::measures;
use super::pool::Lease;
use super::tables::{cells_table, check_length, days_table, raw_table, sketches_table};
use super::wire::Ms;
use super::{rewrite, sketches};

/// The migrations in order; the schema's version is their number.
const MIGRATIONS: [&str; 10] = [
    include_str!("../../sql/postgres/0001_store.sql"),
    include_str!("../../sql/postgres/0002_outputs.sql"),
    include_str!("../../sql/postgres/0003_archive.sql"),
    include_str!("../../sql/postgres/0004_replays.sql"),
    include_str!("../../sql/postgres/0005_tombstones.sql"),
    include_str!("../../sql/postgres/0006_lines.sql"),
    include_str!("../../sql/postgres/0007_keys.sql"),
    include_str!("../../sql/postgres/0008_by_hand.sql"),
    include_str!("../../sql/postgres/0009_marks.sql"),
    include_str!("../../sql/postgres/0010_skipped.sql"),
];
/// The schema's version as this binary makes it.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;
/// The prefix of names that the server keeps for itself.
const RESERVED: &str = "pg_";

/// Takes the lock behind which tables are made, until the transaction's end.
const LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('streamgauge schema ' || current_schema(), 0))";

/// Checks the definitions, without asking the server.
pub(crate) fn check_names(streams: &[Stream], rollups: &[Rollup]) -> Result<(), Error> {
    check_distinct("streams", streams.iter().map(|stream| stream.name.as_str()))?;
    let of_raw = streams.iter().filter_map(|stream| stream.raw_table.as_ref()).flat_map(raw_views);
    let views: Vec<&str> = rollups.iter().map(|rollup| rollup.name.as_str()).chain(of_raw).collect();
    check_distinct("views", views.iter().copied())?;
    for view in views {
        check_view(view, RESERVED)?;
        check_length("the view", view)?;
    }
    for rollup in rollups {
        let fixed = ["window_start", "window_end", "late_count", "revision", "is_final"];
        let measures = rollup.measures.iter().map(|measure| measure.name.as_str());
        let columns = fixed.into_iter().chain(rollup.by.iter().map(String::as_str)).chain(measures);
        check_columns(&rollup.name, columns.clone())?;
        check_panes(rollup)?;
        for column in columns {
            check_length("the column", column)?;
        }
    }
    Ok(())
}

/// Brings the schema to this binary's version and makes what the definitions need, inside the caller's transaction.
pub(crate) async fn prepare(
    lease: &Lease,
    streams: &[Stream],
    rollups: &[Rollup],
    faults: &Faults,
) -> Result<(), Error> {
    lease.client()?.batch_execute(LOCK).await?;
    migrate(lease).await?;
    faults.step()?;
    for stream in streams {
        let sql = "INSERT INTO sg_streams VALUES ($1, $2, 0, 0, 0) ON CONFLICT DO NOTHING";
        lease.execute(sql, &[&stream.name, &Ms(Timestamp::NEVER)]).await?;
        if let Some(raw) = &stream.raw_table {
            prepare_raw(lease, stream, raw).await?;
        }
        faults.step()?;
    }
    for rollup in rollups {
        prepare_rollup(lease, rollup).await?;
        faults.step()?;
    }
    Ok(())
}

async fn migrate(lease: &Lease) -> Result<(), Error> {
    let client = lease.client()?;
    client.batch_execute("CREATE TABLE IF NOT EXISTS sg_schema (version bigint NOT NULL)").await?;
    let stored: i64 = client
        .query_one("SELECT coalesce((SELECT max(version) FROM sg_schema), 0)", &[])
        .await?
        .try_get(0)?;
    let known = MIGRATIONS.len();
    let applied = usize::try_from(stored).unwrap_or(usize::MAX);
    if applied > known {
        return Err(answers::newer_schema(stored, known).into());
    }
    if applied == known {
        return Ok(());
    }
    for migration in &MIGRATIONS[applied..] {
        client.batch_execute(migration).await?;
    }
    client.batch_execute("DELETE FROM sg_schema").await?;
    client.execute("INSERT INTO sg_schema VALUES ($1)", &[&(known as i64)]).await?;
    answers::tell_migrated(applied, known);
    Ok(())
}

/// Returns whether a rollup was counted under another definition. Brings the schema to this binary's version first.
pub(crate) async fn is_of_another_definition(lease: &Lease, rollup: &Rollup) -> Result<bool, Error> {
    lease.client()?.batch_execute(LOCK).await?;
    migrate(lease).await?;
    let sql = "SELECT definition FROM sg_rollups WHERE rollup = $1";
    let Some(row) = lease.query_opt(sql, &[&rollup.name]).await? else { return Ok(false) };
    Ok(row.try_get::<_, String>(0)? != rollup.hash())
}

/// Forgets a rollup that was counted under another definition.
pub(crate) async fn forget(lease: &Lease, rollup: &Rollup) -> Result<bool, Error> {
    if !is_of_another_definition(lease, rollup).await? {
        return Ok(false);
    }
    // As everything that changes cells outside a flush.
    rewrite::lock(lease, &rollup.stream).await?;
    let tables = [cells_table(&rollup.name), days_table(&rollup.name), sketches_table(&rollup.name)];
    let sql =
        format!("DROP VIEW IF EXISTS {}; DROP TABLE IF EXISTS {}", quoted(&rollup.name), tables.join(", "));
    lease.client()?.batch_execute(&sql).await?;
    for (table, column) in
        [("sg_rollups", "rollup"), ("sg_rollup_partitions", "rollup"), ("sg_views", "view")]
    {
        lease.execute(&format!("DELETE FROM {table} WHERE {column} = $1"), &[&rollup.name]).await?;
    }
    Ok(true)
}

async fn prepare_rollup(lease: &Lease, rollup: &Rollup) -> Result<(), Error> {
    let definition = rollup.hash();
    let stored = lease
        .query_opt(
            "SELECT rollup, definition FROM sg_rollups WHERE lower(rollup) = lower($1)",
            &[&rollup.name],
        )
        .await?;
    match stored {
        Some(row) => {
            let (known, stored): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            if known != rollup.name {
                return Err(answers::another_case(&rollup.name, &known).into());
            }
            if stored != definition {
                return Err(answers::another_definition(&rollup.name).into());
            }
        }
        None => {
            let sql = "INSERT INTO sg_rollups VALUES ($1, $2, $3, $4, $4, NULL, $4, 0, NULL)";
            let never = Ms(Timestamp::NEVER);
            lease.execute(sql, &[&rollup.name, &rollup.stream, &definition, &never]).await?;
            lease.client()?.batch_execute(&create_cells(rollup)).await?;
        }
    }
    replace_view(lease, &rollup.name, &rollup_view(rollup)).await
}

fn create_cells(rollup: &Rollup) -> String {
    let mut columns = String::from("pane timestamptz NOT NULL");
    for dimension in dimension_columns(rollup) {
        columns += &format!(", {dimension} text COLLATE \"C\" NOT NULL");
    }
    columns += ", events bigint NOT NULL, late_count bigint NOT NULL, revision bigint NOT NULL";
    for (at, measure) in rollup.measures.iter().enumerate() {
        let presence = if measures::is_nullable(&measure.function) { "" } else { " NOT NULL" };
        for (column, kind) in measures::columns(&measure.function, at) {
            columns += &format!(", {column} {kind}{presence}");
        }
    }
    let key = key_columns(rollup).join(", ");
    // Cells of the current window change with every flush: with room beside them no index is touched.
    let mut sql = format!(
        "CREATE TABLE {} ({columns}, PRIMARY KEY ({key})) WITH (fillfactor = 70);",
        cells_table(&rollup.name)
    );
    if rollup.has_levels() {
        sql += &levels::create(rollup);
    }
    if rollup.has_sketches() {
        sql += &sketches::create(rollup);
    }
    sql
}

/// Returns the select behind a rollup's view: its windows with readable columns.
fn rollup_view(rollup: &Rollup) -> String {
    let mut columns = String::new();
    for (at, name) in rollup.by.iter().enumerate() {
        columns += &format!("d{at} AS {}, ", quoted(name));
    }
    let window_end = format!("pane + interval '{} milliseconds'", rollup.window_ms);
    columns += &format!("pane AS window_start, {window_end} AS window_end");
    for (at, measure) in rollup.measures.iter().enumerate() {
        columns += &format!(", {} AS {}", shown(rollup, at), quoted(&measure.name));
    }
    columns += &format!(", late_count, revision, {window_end} <= closed_to AS is_final");
    let standing = format!(
        "(SELECT closed_to, removed_before FROM sg_rollups WHERE rollup = {}) AS standing",
        literal(&rollup.name)
    );
    format!("SELECT {columns} FROM {} AS cells JOIN {standing} ON pane >= removed_before", windows(rollup))
}

/// Returns the expression that shows a measure of a window.
fn shown(rollup: &Rollup, at: usize) -> String {
    let function = &rollup.measures[at].function;
    if !function.is_level() {
        return measures::show(function, at);
    }
    let key: Vec<String> = dimension_columns(rollup).iter().map(|name| format!("cells.{name}")).collect();
    let last_pane = format!("cells.pane + interval '{} milliseconds'", rollup.window_ms - rollup.pane_ms);
    levels::level(rollup, at, &key, &last_pane)
}

/// Returns what a rollup's windows are read from: the table of cells itself, or its panes summed up.
fn windows(rollup: &Rollup) -> String {
    let table = cells_table(&rollup.name);
    if rollup.pane_ms == rollup.window_ms {
        return table;
    }
    let mut columns = format!("sg_window_start(pane, {}) AS pane", rollup.window_ms);
    for dimension in dimension_columns(rollup) {
        columns += &format!(", {dimension}");
    }
    columns += ", sum(late_count)::bigint AS late_count, sum(revision)::bigint AS revision";
    for (at, measure) in rollup.measures.iter().enumerate() {
        columns += &format!(", {}", measures::over_panes(&measure.function, at));
    }
    let places: Vec<String> = (1..=rollup.by.len() + 1).map(|place| place.to_string()).collect();
    format!("(SELECT {columns} FROM {table} GROUP BY {})", places.join(", "))
}

async fn prepare_raw(lease: &Lease, stream: &Stream, raw: &RawTable) -> Result<(), Error> {
    let table = raw_table(&stream.name);
    let found = lease.query_opt("SELECT 1 FROM pg_class WHERE oid = to_regclass($1)", &[&table]).await?;
    if found.is_none() {
        lease.client()?.batch_execute(&create_raw(&table)).await?;
    }
    // The text is kept as it was written; what it means is shown.
    let select = format!(
        "SELECT event_id, user_id, session_id, event_name, properties::jsonb AS metadata, event_time AS timestamp, \
         processed_at FROM {table}"
    );
    replace_view(lease, &raw.name, &select).await?;
    if raw.name != "events" {
        return Ok(());
    }
    let select = format!(
        "SELECT position AS id, event_id, session_id, event_name AS event_type, event_time AS ts, \
         properties::jsonb AS payload FROM {table}"
    );
    replace_view(lease, "web_events", &select).await
}

/// The pieces get these indexes: ids by their hash, whose size does not depend on them, the others in the order of
/// answers. Upkeep adds others to pieces that are full.
fn create_raw(table: &str) -> String {
    format!(
        "CREATE TABLE {table} (position bigint PRIMARY KEY, event_id text COLLATE \"C\" NOT NULL, \
         user_id text COLLATE \"C\", session_id text COLLATE \"C\", event_name text COLLATE \"C\" NOT NULL, \
         properties text NOT NULL, event_time timestamptz NOT NULL, received_at timestamptz NOT NULL, \
         processed_at timestamptz NOT NULL) PARTITION BY RANGE (position); \
         CREATE INDEX ON {table} USING hash (event_id); \
         CREATE INDEX ON {table} (user_id, event_time, position) WHERE user_id IS NOT NULL; \
         CREATE INDEX ON {table} (event_time, position)"
    )
}

/// Makes a view, unless it is there already with this select.
async fn replace_view(lease: &Lease, name: &str, select: &str) -> Result<(), Error> {
    let view = quoted(name);
    let found = lease
        .query_opt(
            "SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' \
             WHEN 'm' THEN 'materialized view' ELSE 'table' END, (SELECT definition FROM sg_views WHERE view = $1) \
             FROM pg_class WHERE relname = $1::text AND relnamespace = to_regnamespace(quote_ident(current_schema()))",
            &[&name],
        )
        .await?;
    if let Some(row) = &found {
        let (kind, ours): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        if kind != "view" || ours.is_none() {
            return Err(answers::not_ours(name, &kind).into());
        }
        if ours.as_deref() == Some(select) {
            return Ok(());
        }
    }
    let client = lease.client()?;
    client.batch_execute("SAVEPOINT view").await?;
    // Keeps what others were granted on it; impossible when a column changes its place or type.
    if let Err(error) = client.batch_execute(&format!("CREATE OR REPLACE VIEW {view} AS {select}")).await {
        if error.code() != Some(&SqlState::INVALID_TABLE_DEFINITION) {
            return Err(error.into());
        }
        let sql = format!("ROLLBACK TO view; DROP VIEW {view}; CREATE VIEW {view} AS {select}");
        client.batch_execute(&sql).await?;
    }
    let sql = "INSERT INTO sg_views VALUES ($1, $2) ON CONFLICT (view) DO UPDATE SET definition = excluded.definition";
    lease.execute(sql, &[&name, &select]).await?;
    Ok(())
}

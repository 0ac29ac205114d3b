//! The database behind a server as programs see it that know nothing of Streamgauge: `sqlite3` on the file, `psql` on the
//! server.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::services::Services;

/// A database to ask.
pub(super) enum Database {
    File(PathBuf),
    Postgres { services: Services, name: String },
}

impl Database {
    /// Returns the rows of a select as lines, values joined by bars.
    pub(super) fn lines(&self, sql: &str) -> Vec<String> {
        match self {
            Database::File(path) => {
                let output =
                    Command::new("sqlite3").args(["-batch", "-readonly"]).arg(path).arg(sql).output();
                let output = output.expect("sqlite3 can be run");
                assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
            }
            Database::Postgres { services, name } => {
                services.sql(name, sql).unwrap_or_else(|| panic!("psql: {sql}"))
            }
        }
    }

    /// Returns the columns of a view, in their order.
    pub(super) fn columns(&self, view: &str) -> Vec<String> {
        match self {
            Database::File(_) => self.lines(&format!("SELECT name FROM pragma_table_info('{view}') ORDER BY cid")),
            Database::Postgres { .. } => self.lines(&format!(
                "SELECT column_name FROM information_schema.columns WHERE table_name = '{view}' ORDER BY ordinal_position"
            )),
        }
    }

    /// Removes a database that was made for a test; fails only where the server is gone.
    pub(super) fn drop_it(&self) {
        if let Database::Postgres { services, name } = self {
            services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
        }
    }
}

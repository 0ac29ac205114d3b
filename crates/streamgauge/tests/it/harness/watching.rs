//! A stream of server-sent events, read line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::http::connect;
use super::{PATIENCE, Server, until};

/// One who watches.
pub(crate) struct Watching(BufReader<TcpStream>);

/// One event.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Watching {
    /// Begins to watch, behind an event where one is named; returns the first line of the answer beside.
    pub(crate) fn begin(server: &Server, path: &str, last_id: Option<&str>) -> (Watching, String) {
        let mut stream = connect(server.address()).expect("the server listens");
        let resume = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n{resume}\r\n");
        stream.get_mut().write_all(request.as_bytes()).expect("the server reads");
        let mut watching = Watching(stream);
        let first = watching.line().expect("the server answers");
        (watching, first)
    }

    /// Returns the next line; `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let bytes = self.0.read_line(&mut line).expect("the server goes on");
        (bytes > 0).then(|| line.trim_end().to_owned())
    }

    /// Returns the next event; `None` when the server leaves.
    pub(crate) fn next(&mut self) -> Option<Told> {
        let (mut id, mut name, mut data) = (String::new(), String::new(), None);
        loop {
            let line = self.line()?;
            if let Some(read) = line.strip_prefix("id:") {
                id = read.trim().to_owned();
            }
            if let Some(read) = line.strip_prefix("event:") {
                name = read.trim().to_owned();
            }
            if let Some(read) = line.strip_prefix("data:") {
                data = Some(serde_json::from_str(read).expect("JSON"));
            }
            // An event ends with a blank line; so do the headers, which have no data.
            if line.is_empty()
                && let Some(data) = data.take()
            {
                return Some(Told { id, name, data });
            }
        }
    }

    /// Returns the next event of a name whose data is right.
    pub(crate) fn find(&mut self, wanted: &str, mut is_right: impl FnMut(&Value) -> bool) -> Told {
        let mut found = None;
        until(PATIENCE, wanted, || {
            let told = self.next().expect("the stream goes on");
            if told.name == wanted && is_right(&told.data) {
                found = Some(told);
            }
            found.is_some()
        });
        found.expect("the condition was that there is one")
    }
}

//! Every route of the server is in its document, and the reverse. The routes are read from the page of the source where they
//! all stand, and each is tried with each method.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use serde_json::Value;

use crate::cluster::{Cluster, turn};
use crate::harness::Server;
use crate::harness::http::connect;
use crate::harness::services::Services;

use super::document::Document;

/// Where all routes stand.
pub(crate) const ROUTES: &str = include_str!("../../../../sg-http/src/lib.rs");
/// Pages and their files are for people, and in no document.
const PAGES: [&str; 2] = ["dashboard::", "docs::"];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Returns the paths of the source's routes, without those of pages.
fn paths_in(source: &str) -> Vec<String> {
    paths_without(&PAGES, source)
}

/// Returns the paths of the source's routes, without those that lead to some modules.
pub(crate) fn paths_without(modules: &[&str], source: &str) -> Vec<String> {
    let of_route = |route: &str| {
        let (path, rest) = route.trim_start().strip_prefix('"')?.split_once('"')?;
        let to = rest.split(".route(").next().unwrap_or_default();
        (!modules.iter().any(|module| to.contains(module))).then(|| path.to_owned())
    };
    source.split(".route(").skip(1).filter_map(of_route).collect()
}

/// Returns whether a server has a method on a path: the answer's first line and, for a path that is not there, its body say so.
fn has(server: &Server, method: &str, path: &str) -> bool {
    let mut stream = connect(server.address()).expect("the server listens");
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: here\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).expect("the server reads");
    let mut lines = stream.lines().map(|line| line.expect("the server answers"));
    let status =
        lines.next().expect("a status").split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    match status.expect("a number") {
        405 => false,
        404 => {
            !lines.any(|line| ["there is nothing at", "\"role_missing\""].iter().any(|no| line.contains(no)))
        }
        _ => true,
    }
}

pub(crate) fn served(server: &Server, paths: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in paths {
        let tried: String = path
            .split(['{', '}'])
            .enumerate()
            .map(|(at, part)| if at % 2 == 0 { part } else { "x" })
            .collect();
        let methods = METHODS.into_iter().filter(|method| has(server, method, &tried));
        found.extend(methods.map(|method| format!("{method} {path}")));
    }
    found
}

fn described(server: &Server) -> BTreeSet<String> {
    let operations = Document::of(server).operations();
    operations.iter().map(|operation| format!("{} {}", operation.method, operation.path)).collect()
}

/// Returns the paths that a configuration gives to its streams.
fn paths_of_streams(toml: &str) -> Vec<String> {
    let table: toml::Table = toml.parse().expect("TOML");
    let streams = table["stream"].as_array().into_iter().flatten();
    let paths = streams.filter_map(|stream| stream.get("paths")?.as_array()).flatten();
    paths.filter_map(|path| Some(path.as_str()?.to_owned())).collect()
}

#[test]
fn every_route_is_in_the_document_and_the_reverse() {
    let server = Server::start(&[]);
    let routes = paths_in(ROUTES);
    assert!(routes.len() > 30 && !routes.contains(&"/".to_owned()), "{routes:?}");
    let all = routes.into_iter().chain(paths_of_streams(crate::systems::BUILTIN));
    assert_eq!(described(&server), served(&server, all));
}

#[test]
fn a_process_describes_what_it_has_a_role_for() {
    let Some(services) = Services::shared() else { return };
    let _turn = turn();
    let cluster = Cluster::new(services);
    for roles in ["ingest", "process", "query"] {
        let server = cluster.start(roles);
        let all = paths_in(ROUTES).into_iter().chain(["/events".to_owned(), "/api/pageviews".to_owned()]);
        assert_eq!(described(&server), served(&server, all), "{roles}");
    }
}

#[test]
fn all_routes_stand_on_one_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sg-http/src");
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs")
                && !["src/lib.rs", "tests.rs"].iter().any(|mine| path.ends_with(mine))
            {
                let text = std::fs::read_to_string(&path).expect("the file is text");
                assert!(!text.contains(".route("), "{}: routes stand in lib.rs", path.display());
            }
        }
    }
}

#[test]
fn the_page_at_docs_needs_nobody_else() {
    let server = Server::start(&[]);
    for (path, kind) in [("/docs", "text/html"), ("/docs.js", "text/javascript"), ("/docs.css", "text/css")] {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").is_some_and(|found| found.starts_with(kind)), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
        let text = answer.text();
        assert!(!text.is_empty() && !text.contains("://") && !text.contains("innerHTML"), "{path}");
    }
    let page = server.get("/docs").text();
    assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("<script>"), "{page}");
    for (attribute, files) in [("src=\"", &["/docs.js"][..]), ("rel=\"stylesheet\" href=\"", &["/docs.css"])]
    {
        let found: Vec<&str> =
            page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(found, files);
    }
    let document: Value = server.get("/openapi.json").json();
    assert!(document["paths"].get("/docs").is_none());
}

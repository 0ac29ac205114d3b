//! What every path takes and answers, as an OpenAPI 3.1 document: for those who make clients of it, and for the page at
//! `/docs`. The files in `openapi/` say what does not depend on the configuration; here what this process does not serve is
//! left out, and what its configuration adds is put in. Pages and their files are for people and not in it.

use std::collections::BTreeMap;

use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sg_core::batch::EventBatch;
use sg_core::definition::{FieldType, Stream};
use sg_core::event::Canonical;
use sg_core::plan::{Arrival, Plan};

use crate::access;
use crate::{Answers, App, Door, Roles, events, pages};

const DOCUMENT: &str = include_str!("openapi/document.json");
const PATHS: [&str; 3] = [
    include_str!("openapi/native.json"),
    include_str!("openapi/health.json"),
    include_str!("openapi/systems.json"),
];
/// The path that takes events of every stream.
const ANY_STREAM: &str = "/v1/events";
/// Paths whose description serves for others: of their kinds one answers counts, and one nothing.
const COUNTS: &str = "/events";
const EMPTY: &str = "/api/pageviews";

/// `GET /openapi.json`.
pub(crate) async fn answer(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], document)
        .into_response()
}

/// Writes the document of a process.
pub(crate) fn document(app: &App) -> Bytes {
    let mut document = read(DOCUMENT);
    document["info"]["version"] = app.version.into();
    let codes: Vec<&str> = pages::codes().collect();
    for schema in ["Problem", "RefusedEvent"] {
        document["components"]["schemas"][schema]["properties"]["code"]["enum"] = json!(codes);
    }
    let parameters = &mut document["components"]["parameters"];
    let streams: Vec<&str> = app.doors.iter().map(|door| door.plan.stream.name.as_str()).collect();
    parameters["Stream"]["schema"]["enum"] = json!(streams);
    let rollups: Vec<&str> = app
        .doors
        .iter()
        .flat_map(|door| &door.plan.rollups)
        .map(|planned| planned.rollup.name.as_str())
        .collect();
    parameters["Rollup"]["example"] = json!(rollups.first());
    parameters["Rollup"]["schema"]["examples"] = json!(rollups);
    let mut paths = paths(app);
    if let (Some(rebuild), Some(rollup)) = (paths.get_mut("/v1/rebuild"), rollups.first()) {
        let content = &mut rebuild["post"]["requestBody"]["content"]["application/json"];
        content["examples"]["dry run"]["value"]["rollup"] = json!(rollup);
    }
    document["paths"] = Value::Object(paths);
    Bytes::from(document.to_string())
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("the file is JSON: every start of a server under test reads it")
}

fn paths(app: &App) -> Map<String, Value> {
    let mut paths = Map::new();
    for text in PATHS {
        let Value::Object(more) = read(text) else { continue };
        paths.extend(more);
    }
    let like = paths[COUNTS]["post"].clone();
    let taken = [COUNTS, EMPTY].map(|path| paths[path]["post"]["responses"]["202"].clone());
    // What takes events of one stream is there only where the configuration says so.
    paths.retain(|path, item| {
        let takes_events = item["post"].get("requestBody").is_some() && item["post"]["x-asks"].is_null();
        !takes_events || path == ANY_STREAM || app.doors.iter().any(|door| door.paths.contains(path))
    });
    for door in &app.doors {
        let [counts, empty] = &taken;
        let answer = if door.answers == Answers::Empty { empty } else { counts };
        for path in door.paths.iter().filter(|path| *path != ANY_STREAM) {
            let item = paths.entry(path).or_insert_with(|| json!({"post": named_after(&like, path, door)}));
            item["post"]["responses"]["202"] = answer.clone();
            fit(&mut item["post"], &door.plan);
            tell_names(&mut item["post"], &door.plan.stream);
        }
    }
    if let (Some(item), Some(door)) = (paths.get_mut(ANY_STREAM), app.doors.first()) {
        fit(&mut item["post"], &door.plan);
        app.doors.iter().for_each(|door| tell_names(&mut item["post"], &door.plan.stream));
        add_own_parameters(&mut item["get"]["parameters"], app);
    }
    keep_roles(&mut paths, app.roles);
    if !app.guard.is_off() {
        ask_for_keys(&mut paths, app);
    }
    paths
}

/// Describes a path of a stream's own like another.
fn named_after(like: &Value, path: &str, door: &Door) -> Value {
    let mut operation = like.clone();
    let stream = &door.plan.stream.name;
    operation["tags"] = json!(["Events"]);
    operation["operationId"] =
        format!("send{}", path.replace(|letter: char| !letter.is_alphanumeric(), "_")).into();
    operation["summary"] = format!("Send events of {stream}").into();
    operation["description"] = format!("As POST {ANY_STREAM}?stream={stream}.").into();
    operation
}

/// Gives an operation that takes events an example that its stream accepts, where one that it has is refused or has its
/// fields under names that the stream does not read.
fn fit(operation: &mut Value, plan: &Plan) {
    let content = &mut operation["requestBody"]["content"];
    let examples = content["application/json"]["examples"].as_object();
    let values = examples.into_iter().flatten().map(|(_, example)| &example["value"]);
    let mut events = values.filter_map(|value| value.as_array().map_or(Some(value), |list| list.first()));
    if plan.stream.fields.is_empty() && events.all(|event| is_accepted(plan, event)) {
        return;
    }
    let event = example_of(&plan.stream);
    if let Some(lines) = content.get_mut("application/x-ndjson") {
        lines["examples"]["lines"]["value"] = format!("{event}\n").into();
    }
    content["application/json"]["examples"] = json!({"one": {"summary": "One event", "value": event}});
}

fn is_accepted(plan: &Plan, event: &Value) -> bool {
    let mut batch = EventBatch::new(plan.name.clone(), Bytes::new());
    let mut arrival = Arrival { received_at: None, new_id: &mut String::new };
    plan.accept(&event.to_string(), &mut arrival, &mut batch).is_ok()
}

/// Says in an operation that takes events under which names of its own a stream reads its fields, if it has any.
fn tell_names(operation: &mut Value, stream: &Stream) {
    if stream.fields.is_empty() {
        return;
    }
    let named = stream.fields.iter().map(|(field, name)| format!("`{name}` as {}", field.name()));
    let named = named.collect::<Vec<_>>().join(", ");
    let said = operation["description"].as_str().unwrap_or_default();
    let more = format!("{said} The stream {} reads {named}, under no other name.", stream.name);
    operation["description"] = more.trim().into();
}

/// Adds the names of their own by which events of streams can be asked for; each stands once, whatever it means where.
fn add_own_parameters(parameters: &mut Value, app: &App) {
    let streams = app.doors.iter().map(|door| &door.plan.stream).filter(|stream| stream.raw_table.is_some());
    let mut meanings: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for stream in streams {
        for (field, name) in events::own_parameters(stream) {
            let meaning = format!("`{}` of the stream {}", field.name(), stream.name);
            meanings.entry(name).or_default().push(meaning);
        }
    }
    let added = meanings.iter().map(|(name, meant)| {
        let description = format!("{}, under its own name.", meant.join(", "));
        json!({"name": name, "in": "query", "description": description, "schema": {"type": "string"}})
    });
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.extend(added);
    }
}

/// Returns the least event that a stream's definition accepts, with every field that it has a name of its own for.
fn example_of(stream: &Stream) -> Value {
    let mut event = Map::new();
    if stream.default_type.is_empty() {
        event.insert(stream.fields.name(Canonical::EventType).to_owned(), "example".into());
    }
    for (field, name) in stream.fields.iter() {
        event.entry(name).or_insert(match field {
            Canonical::Timestamp => "2025-01-31T12:00:00Z".into(),
            Canonical::Properties => json!({}),
            _ => "example".into(),
        });
    }
    for name in &stream.require {
        let is_number = stream.types.iter().any(|(known, kind)| known == name && *kind == FieldType::Number);
        let value = if is_number { Value::from(1) } else { Value::from("example") };
        event.entry(name).or_insert(value);
    }
    Value::Object(event)
}

/// Says of each operation by which keys it can be had, and what is answered without.
fn ask_for_keys(paths: &mut Map<String, Value>, app: &App) {
    for (path, item) in paths.iter_mut() {
        let is_door = app.doors.iter().any(|door| door.paths.contains(path));
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap_or_default();
            let Some(scope) = access::of(&method, path, is_door).0.scope() else { continue };
            operation["security"] = json!([{"bearer": []}, {"apiKey": []}, {"basic": []}, {"session": []}]);
            operation["x-scope"] = scope.as_str().into();
            for (status, response) in [("401", "Unauthorized"), ("403", "Forbidden")] {
                operation["responses"][status] =
                    json!({"$ref": format!("#/components/responses/{response}")});
            }
        }
    }
}

/// Leaves out what the process has no role for; the mark itself is nobody else's.
fn keep_roles(paths: &mut Map<String, Value>, roles: Roles) {
    for item in paths.values_mut().filter_map(Value::as_object_mut) {
        item.retain(|_, operation| match operation["x-role"].as_str() {
            Some("ingest") => roles.ingest,
            Some("query") => roles.query,
            _ => true,
        });
        for operation in item.values_mut().filter_map(Value::as_object_mut) {
            operation.shift_remove("x-role");
        }
    }
    paths.retain(|_, item| item.as_object().is_some_and(|item| !item.is_empty()));
}

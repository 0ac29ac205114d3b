//! Reads the document: its operations, the requests that its examples make, wrong ones made of its parameters, and whether
//! an answer is what a schema says.

use std::collections::BTreeSet;

use jsonschema::Draft;
use serde_json::{Map, Value, json};

use crate::harness::Server;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The document of a server.
pub(super) struct Document(Value);

/// A method of a path.
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) value: Value,
}

impl Operation {
    pub(super) fn takes_events(&self) -> bool {
        self.value["requestBody"].is_object() && self.value["x-asks"].is_null()
    }

    /// Returns whether nothing is where the example looks, on a server that is well.
    pub(super) fn misses(&self) -> bool {
        self.value["x-missing"] == true
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) target: String,
    pub(super) content_type: Option<String>,
    pub(super) body: String,
}

impl Document {
    pub(super) fn of(server: &Server) -> Document {
        let answer = server.get("/openapi.json");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        Document(answer.json())
    }

    pub(super) fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn has_tag(&self, name: &Value) -> bool {
        self.0["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag["name"] == *name))
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (path, item) in self.0["paths"].as_object().expect("paths") {
            for method in METHODS {
                let Some(value) = item.get(method).cloned() else { continue };
                operations.push(Operation { method: method.to_uppercase(), path: path.clone(), value });
            }
        }
        operations
    }

    fn resolved<'d>(&'d self, value: &'d Value) -> &'d Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let found = reference.strip_prefix('#').and_then(|pointer| self.0.pointer(pointer));
        found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// Returns what an operation says of a status.
    pub(super) fn response<'d>(&'d self, operation: &'d Operation, status: u16) -> Option<&'d Value> {
        let response = operation.value["responses"].get(status.to_string())?;
        Some(self.resolved(response))
    }

    fn parameters(&self, operation: &Operation) -> Vec<Value> {
        let listed = operation.value["parameters"].as_array().into_iter().flatten();
        listed.map(|parameter| self.resolved(parameter).clone()).collect()
    }

    /// Returns what of a value is not as a schema says. Members that the schema does not name are faults.
    pub(super) fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut root = json!({"allOf": [schema], "components": self.0["components"]});
        close(&mut root["components"]["schemas"]);
        close(&mut root["allOf"]);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(&root)
            .unwrap_or_else(|error| panic!("{error}: {schema}"));
        validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect()
    }

    pub(super) fn problem_faults(&self, value: &Value) -> Vec<String> {
        self.faults(&json!({"$ref": "#/components/schemas/Problem"}), value)
    }

    /// Asserts that each parameter of a path is described, and nothing else that stands in it.
    pub(super) fn assert_parameters(&self, operation: &Operation) {
        let named: BTreeSet<&str> = operation.path.split(['{', '}']).skip(1).step_by(2).collect();
        let parameters = self.parameters(operation);
        for parameter in &parameters {
            assert!(parameter["schema"].is_object(), "{}: {parameter}", operation.path);
        }
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<&str> = in_path
            .inspect(|parameter| assert!(parameter["required"] == true && !parameter["example"].is_null()))
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(named, described, "{}", operation.path);
    }

    /// Asserts that every reference leads somewhere, and that every part is referred to.
    pub(super) fn assert_references(&self) {
        let mut found = BTreeSet::new();
        references(&self.0, &mut found);
        let mut there = BTreeSet::new();
        // Those are named by operations, without a reference.
        let components = self.0["components"].as_object().expect("components").iter();
        for (kind, parts) in components.filter(|(kind, _)| *kind != "securitySchemes") {
            let names = parts.as_object().into_iter().flatten();
            there.extend(names.map(|(name, _)| format!("#/components/{kind}/{name}")));
        }
        assert_eq!(found, there);
    }

    /// Returns the requests that an operation's examples make.
    pub(super) fn examples(&self, operation: &Operation) -> Vec<Sent> {
        let target = self.target(operation, &[]);
        if !operation.value["requestBody"].is_object() {
            return vec![Sent { target, content_type: None, body: String::new() }];
        }
        let content = operation.value["requestBody"]["content"].as_object().expect("content");
        let mut all = Vec::new();
        for (kind, body) in content {
            let examples = body["examples"].as_object().expect("every kind of body has examples");
            assert!(!examples.is_empty(), "{}", operation.path);
            for example in examples.values() {
                let value = &example["value"];
                assert!(!value.is_string() || kind == "application/x-ndjson", "{}", operation.path);
                let faults = self.faults(&body["schema"], value);
                assert!(faults.is_empty(), "{} {value}: {faults:?}", operation.path);
                let body = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                all.push(Sent { target: target.clone(), content_type: Some(kind.clone()), body });
            }
        }
        all
    }

    /// Returns the schema of an operation's body, and bodies made of its first example with each member of an event set to
    /// every kind of JSON value, one at a time; an array is sent with one event, and once with none.
    pub(super) fn variants(&self, operation: &Operation) -> (Value, Vec<Value>) {
        let content = &operation.value["requestBody"]["content"]["application/json"];
        let first = content["examples"].as_object().and_then(|examples| examples.values().next());
        let example = &first.expect("there is an example")["value"];
        let is_list = example.is_array();
        let event = if is_list { &example[0] } else { example };
        let of_event = [&content["schema"], &content["schema"]["oneOf"][0], &content["schema"]["items"]];
        let known = of_event.map(|schema| &self.resolved(schema)["properties"]);
        let known = known.into_iter().find_map(Value::as_object).expect("an event has members");
        let mut bodies = vec![json!([])];
        for name in known.keys() {
            for value in [
                json!(true),
                json!(null),
                json!(1),
                json!(""),
                json!(" "),
                json!("x"),
                json!([1]),
                json!({"a": 1}),
            ] {
                // A type that is null is none: another spelling of it, or the stream's default, decides.
                if name == "event_type" && value.is_null() {
                    continue;
                }
                let mut changed = event.clone();
                changed[name] = value;
                bodies.push(if is_list { json!([changed]) } else { changed });
            }
        }
        (content["schema"].clone(), bodies)
    }

    /// Returns a request for every word that a parameter may be, its default among them.
    pub(super) fn every_choice(&self, operation: &Operation) -> Vec<Sent> {
        let first = self.examples(operation).into_iter().next().expect("an operation has an example");
        let mut all = Vec::new();
        for parameter in self.parameters(operation) {
            // Not every stream keeps raw events, or has the fields of the example.
            let words = parameter["schema"]["enum"].as_array().filter(|_| parameter["name"] != "stream");
            let default = Some(&parameter["schema"]["default"]).filter(|default| !default.is_null());
            for word in words.into_iter().flatten().chain(default) {
                let word = word.as_str().map_or_else(|| word.to_string(), str::to_owned);
                let name = parameter["name"].as_str().expect("a name");
                let target = self.target(operation, &[(name, Some(&word))]);
                all.push(Sent { target, ..first.clone() });
            }
        }
        all
    }

    /// Returns requests with a parameter of the wrong type, or one that is not there.
    pub(super) fn wrong(&self, operation: &Operation) -> Vec<Sent> {
        let first = self.examples(operation).into_iter().next().expect("an operation has an example");
        let mut all = Vec::new();
        for parameter in self.parameters(operation).iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().expect("a name");
            for value in wrong_values(&parameter["schema"]) {
                // Of two parameters that say the same the first would be heeded.
                let target = self.target(operation, &[(name, Some(&value)), (other_of(name), None)]);
                all.push(Sent { target, ..first.clone() });
            }
        }
        let is_question = operation.method == "GET" && !all.is_empty();
        if is_question {
            all.push(Sent { target: self.target(operation, &[("nonsense", Some("1"))]), ..first });
        }
        all
    }

    /// Returns requests with texts that are allowed, but that nobody sends who means well.
    pub(super) fn strange(&self, operation: &Operation) -> Vec<Sent> {
        let first = self.examples(operation).into_iter().next().expect("an operation has an example");
        let long = "a".repeat(5_000);
        let mut all = Vec::new();
        for parameter in self.parameters(operation) {
            let name = parameter["name"].as_str().expect("a name");
            for value in
                ["%00", "%FF%FE", "%ED%A0%80", "a%00b", "'%22%3B--", "%25", "%F0%9F%8E%88", "..%2F..", &long]
            {
                all.push(Sent { target: self.target(operation, &[(name, Some(value))]), ..first.clone() });
            }
        }
        all
    }

    /// Returns the path and the query of an operation's examples, with some parameters set or left out.
    fn target(&self, operation: &Operation, changes: &[(&str, Option<&str>)]) -> String {
        let mut target = operation.path.clone();
        let mut query: Vec<(String, String)> = Vec::new();
        for parameter in self.parameters(operation) {
            let name = parameter["name"].as_str().expect("a name").to_owned();
            let example = &parameter["example"];
            let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            let change = changes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            if parameter["in"] == "path" {
                target = target.replace(&format!("{{{name}}}"), change.flatten().unwrap_or(&example));
            } else if change.is_none() && !parameter["example"].is_null() {
                query.push((name, example));
            }
        }
        let set = changes.iter().filter(|(name, _)| !operation.path.contains(&format!("{{{name}}}")));
        query.extend(set.filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned()))));
        let written: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if written.is_empty() { target } else { format!("{target}?{}", written.join("&")) }
    }
}

/// Returns the parameter that says the same.
fn other_of(name: &str) -> &str {
    match name {
        "n" => "limit",
        "limit" => "n",
        _ => "",
    }
}

/// Returns values that a schema does not allow.
fn wrong_values(schema: &Value) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    let mut add = |more: &[&str]| values.extend(more.iter().map(|&value| value.to_owned()));
    match schema["type"].as_str() {
        Some("integer") => add(&["ten", "-1", "1.5", "1e3", "0x10", "99999999999999999999", "%00", "+"]),
        Some("boolean") => add(&["maybe", "2", "TRUE"]),
        _ if schema["enum"].is_array() => add(&["nonsense", "%00"]),
        _ => {}
    }
    match schema["format"].as_str() {
        Some("instant") => add(&["soon", "2025-13-45", "now*2", "%00", "99999999999999999999999999"]),
        Some("interval") => add(&["day", "0h", "7", "-1h", "%00"]),
        Some("period") => add(&["day", "0h", "-1h", "%00"]),
        Some("time-zone") => add(&["Mars/Olympus", "..%2F..%2Fetc%2Fpasswd", "%00"]),
        Some("cursor") => add(&["zz", "5b", "00", "%F0%9F%8E%88"]),
        Some("measure") => add(&["nonsense", "%00"]),
        Some("tag") => add(&["endpoint", "endpoint:both", "%00"]),
        _ => {}
    }
    for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
        values.extend(schema[bound].as_i64().map(|bound| (bound + beyond).to_string()));
    }
    values
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Closes every object that names its members and does not say that there may be more.
fn close(schema: &mut Value) {
    let is_closed = |members: &Map<String, Value>| members.contains_key("additionalProperties");
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("properties").is_some_and(Value::is_object) && !is_closed(members) {
                members.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

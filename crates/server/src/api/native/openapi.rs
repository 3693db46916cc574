//! The description of this API for other programs (OpenAPI 3.1), made of the table of operations, of the
//! terms of filters and of the types of answers. `docs/openapi.json` is what it was made into, and
//! `GET /api/v1/openapi.json` serves it.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{OPERATIONS, Operation, PREFIX, answers, counts};
use crate::admin::accounts::AccountsReport;
use crate::filter::Key;

/// The description, as JSON.
pub fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let document = serde_json::to_string_pretty(&describe()).expect("plain data");
        document + "\n"
    })
}

fn describe() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<answers::Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(format!("{PREFIX}{}", operation.path)).or_insert_with(|| json!({}));
        let described = describe_operation(operation, &mut schemas, &problem);
        path[operation.method.to_ascii_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Doorbook",
            "version": "1",
            "description": "Who came to which database, from where, when, and were they let in. \
                docs/design/native-api.md says more.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"digest": []}, {"token": []}],
        "paths": paths,
        "components": {
            "parameters": shared_parameters(),
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description":
                    "Both halves of a key; over TLS and from the same machine only."},
                "digest": {"type": "http", "scheme": "digest", "description": "A key."},
                "token": {"type": "http", "scheme": "bearer", "description":
                    "A service account's token, or a user's."},
            },
        },
    })
}

/// What the table does not say of an operation.
struct About {
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answer: Value,
}

fn describe_operation(
    operation: &Operation,
    schemas: &mut SchemaGenerator,
    problem: &Schema,
) -> Value {
    let About { summary, parameters, body, answer } = about(operation, schemas);
    let mut described = json!({
        "operationId": operation.id,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", "content": answer},
            "default": {
                "description": "A problem.",
                "content": {"application/problem+json": {"schema": problem}},
            },
        },
    });
    if let Some(body) = body {
        described["requestBody"] = body;
    }
    described
}

fn about(operation: &Operation, schemas: &mut SchemaGenerator) -> About {
    let read = |summary, parameters: Vec<Value>, answer| About {
        summary,
        parameters: [scope(), parameters].concat(),
        body: None,
        answer,
    };
    match operation.id {
        "ingest" => About {
            summary: "Send events",
            parameters: [
                scope(),
                vec![
                    path("source", "1 to 64 lower-case letters, digits and -_., and not doorbook"),
                    query("lines", one_of(&["quarantined", "all", "none"]), "Which lines to list"),
                    header("Idempotency-Key", "Names the request if it is sent again"),
                ],
            ]
            .concat(),
            body: Some(body(json!({
                "application/x-ndjson": {"schema": text()},
                // One alone is such a line, too.
                "application/json": {"schema": schemas.subschema_for::<answers::Event>()},
            }))),
            answer: of::<answers::Ingested>(schemas),
        },
        "lines" => About {
            summary: "Send raw lines",
            parameters: vec![query("project", text(), "The project, by id or name")],
            body: Some(body(json!({
                "application/x-ndjson": {"schema": text()},
                "application/json": {"schema": {"type": "object"}},
                "text/plain": {"schema": text()},
            }))),
            answer: of::<answers::Routed>(schemas),
        },
        "agentSources" => About {
            summary: "What an agent is to follow; for doorbook-agent",
            parameters: Vec::new(),
            body: None,
            answer: cbor(),
        },
        "agentAdvances" => About {
            summary: "What an agent read; for doorbook-agent",
            parameters: Vec::new(),
            body: Some(body(cbor())),
            answer: cbor(),
        },
        "listEvents" => read(
            "The newest events",
            [
                filter(),
                vec![
                    limit(0, super::events::LIMIT_MAX),
                    query("cursor", text(), "The cursor of an answer; besides limit nothing else"),
                ],
            ]
            .concat(),
            of::<answers::Events>(schemas),
        ),
        "eventHistogram" => read(
            "Counts by time",
            [
                vec![required(query(
                    "width",
                    json!({"type": "string", "pattern": "^[1-9][0-9]{0,4}[smhd]$"}),
                    "Of a bar",
                ))],
                filter(),
            ]
            .concat(),
            of::<answers::Histogram>(schemas),
        ),
        "topOfEvents" => read(
            "Counts by value",
            [
                vec![required(query("by", one_of(&counts::words()), "What is counted"))],
                vec![limit(1, 1000)],
                filter(),
            ]
            .concat(),
            of::<answers::Top>(schemas),
        ),
        "tailEvents" => read(
            "Events as they are recorded",
            [
                vec![
                    query("after", text(), "Where to begin: an as_of, or none; now by default"),
                    header("Last-Event-ID", "The last id of a tail, where to go on"),
                ],
                filter_of_now(),
            ]
            .concat(),
            json!({"text/event-stream": {"schema": {"type": "string"}}}),
        ),
        "getEvent" => read(
            "One event, and what else its connection did",
            vec![path("id", "The public id")],
            of::<answers::Row>(schemas),
        ),
        "export" => read(
            "All rows, as an archive with a manifest",
            [
                vec![required(query(
                    "format",
                    one_of(&["csv", "ndjson", "parquet"]),
                    "How rows are written",
                ))],
                filter(),
            ]
            .concat(),
            json!({"application/zip": {"schema": {"type": "string", "format": "binary"}}}),
        ),
        "listPrincipals" => read(
            "Who was seen",
            [
                vec![
                    query("sort", one_of(&["last", "first", "count", "failures"]), "By what"),
                    limit(1, 10_000),
                ],
                filter(),
            ]
            .concat(),
            of::<answers::Principals>(schemas),
        ),
        "getPrincipal" => read(
            "When and from where one was seen",
            [vec![path("name", "The name")], filter_but(Key::Principal)].concat(),
            of::<answers::Principal>(schemas),
        ),
        "listSources" => read("How sources are", Vec::new(), of::<answers::Sources>(schemas)),
        "getCoverage" => read(
            "What was not seen",
            [vec![limit(1, 10_000)], filter_of_now()].concat(),
            of::<answers::CoverageAlone>(schemas),
        ),
        "reportAccounts" => About {
            summary: "Who was seen, of those who should be",
            parameters: [
                scope(),
                vec![
                    shared("q"),
                    query("interactive", many(), "One more application that people use by hand"),
                ],
            ]
            .concat(),
            body: Some(body(json!({"text/csv": {"schema": text()}}))),
            answer: of::<AccountsReport>(schemas),
        },
        "listReviews" => read("Reviews", Vec::new(), of::<answers::Reviews>(schemas)),
        "getReview" => read(
            "What is new of a review since it was signed",
            vec![
                review(),
                query("round", text(), "The token of the round, as it was shown; now by default"),
                limit(0, 1000),
                query("cursor", text(), "The cursor of an answer; besides limit nothing else"),
            ],
            of::<answers::Round>(schemas),
        ),
        "createReview" => About {
            body: Some(json_body::<answers::NewReview>(schemas)),
            ..read("Have something reviewed", Vec::new(), of::<answers::Review>(schemas))
        },
        "changeReview" => About {
            body: Some(json_body::<answers::ChangedReview>(schemas)),
            ..read("Describe a review anew", vec![review()], of::<answers::Review>(schemas))
        },
        "removeReview" => read("Review it no longer", vec![review()], of::<answers::Done>(schemas)),
        "checkReview" => read(
            "Whether what was signed is still there",
            vec![
                review(),
                required(query("round", json!({"type": "integer", "minimum": 1}), "Which round")),
            ],
            of::<answers::CheckedRound>(schemas),
        ),
        "markRows" => About {
            body: Some(json_body::<answers::Marking>(schemas)),
            ..read("Say what rows are", vec![review()], of::<answers::Done>(schemas))
        },
        "closeRows" => About {
            body: Some(json_body::<answers::Closing>(schemas)),
            ..read(
                "Say what came of rows that were to be followed up",
                vec![review()],
                of::<answers::Done>(schemas),
            )
        },
        "signReview" => About {
            body: Some(json_body::<answers::Signing>(schemas)),
            ..read("Sign a round", vec![review()], of::<answers::SignOff>(schemas))
        },
        other => unreachable!("{other} is an operation without a description"),
    }
}

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    json!({"application/json": {"schema": schemas.subschema_for::<T>()}})
}

fn json_body<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    body(json!({"application/json": {"schema": schemas.subschema_for::<T>()}}))
}

/// The review that a path names.
fn review() -> Value {
    path("name", "The review")
}

fn cbor() -> Value {
    let schema = json!({"type": "string", "format": "binary"});
    json!({doorbook_event::shipment::CONTENT_TYPE: {"schema": schema}})
}

fn body(content: Value) -> Value {
    json!({"required": true, "content": content})
}

/// Whose history is read.
fn scope() -> Vec<Value> {
    vec![shared("project"), shared("namespace")]
}

/// What all reads take.
fn filter() -> Vec<Value> {
    [vec![shared("as_of")], filter_of_now()].concat()
}

fn filter_but(key: Key) -> Vec<Value> {
    let mut all = filter();
    all.retain(|parameter| *parameter != shared(key.parameter()));
    all
}

/// What reads take that are of the present.
fn filter_of_now() -> Vec<Value> {
    let words = ["q", "zone", "not_class", "has_task", "unauthenticated"].into_iter();
    words.chain(keys().map(Key::parameter)).map(shared).collect()
}

fn shared(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

/// Parameters of many operations, by their names.
fn shared_parameters() -> Map<String, Value> {
    let mut all = vec![
        query("project", text(), "The project, by id or name; the key's own by default"),
        query("namespace", text(), "A namespace instead"),
        query("as_of", text(), "The as_of of an answer, for the same state of the history"),
        query("q", text(), "A filter: result:failed user:svc-* ip:10.0.0.0/8 (docs/filters.md)"),
        query("zone", text(), "Where days begin and end: UTC, Europe/Berlin, +02:00"),
        query("not_class", many(), "Without this class"),
        query("has_task", json!({"type": "boolean"}), "Within a task, or not"),
        query("unauthenticated", one_of(&["true"]), "Who gave no name"),
    ];
    all.extend(keys().map(|key| {
        let schema = match key {
            Key::From | Key::To => text(),
            _ => many(),
        };
        query(key.parameter(), schema, &format!("Short for {}: in q", key.word()))
    }));
    let named = all.into_iter().map(|parameter| {
        let name = parameter["name"].as_str().expect("it has one").to_owned();
        (name, parameter)
    });
    named.collect()
}

/// `since` is for people, who write filters.
fn keys() -> impl Iterator<Item = Key> {
    Key::ALL.into_iter().filter(|key| *key != Key::Since)
}

fn query(name: &str, schema: Value, description: &str) -> Value {
    json!({"name": name, "in": "query", "schema": schema, "description": description})
}

fn required(mut parameter: Value) -> Value {
    parameter["required"] = true.into();
    parameter
}

fn path(name: &str, description: &str) -> Value {
    let schema = json!({"type": "string", "minLength": 1});
    required(json!({"name": name, "in": "path", "schema": schema, "description": description}))
}

fn header(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "schema": text(), "description": description})
}

fn limit(least: usize, most: usize) -> Value {
    let schema = json!({"type": "integer", "minimum": least, "maximum": most});
    query("limit", schema, "At most so many")
}

fn text() -> Value {
    json!({"type": "string"})
}

fn many() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn one_of(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

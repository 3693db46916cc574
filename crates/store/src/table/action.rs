//! The actions of a Delta log, as far as we write them: a line of JSON each.

use std::collections::BTreeMap;

use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::schema::types::{SchemaDescriptor, Type};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One action: exactly one of its members is there. Whatever other writers put beside is skipped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit_info: Option<CommitInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta_data: Option<MetaData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) txn: Option<Txn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remove: Option<Remove>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) add: Option<Add>,
}

/// Who wrote a commit, and how to see that it is whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo {
    #[serde(default)]
    pub(super) timestamp: i64,
    #[serde(default)]
    pub(super) operation: String,
    #[serde(default)]
    pub(super) engine_info: String,
    /// CRC-32C of the lines after this one. Commits of other writers have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc32c: Option<u32>,
}

/// What a program must know to read and to write the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: i32,
    pub(super) min_writer_version: i32,
}

/// What the table is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) format: Format,
    pub(super) schema_string: String,
    pub(super) partition_columns: Vec<String>,
    #[serde(default)]
    pub(super) created_time: Option<i64>,
    pub(super) configuration: BTreeMap<String, String>,
}

/// How its files are coded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Format {
    pub(super) provider: String,
    pub(super) options: BTreeMap<String, String>,
}

/// How far an application has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub(super) app_id: String,
    pub(super) version: i64,
}

/// A file of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    pub(super) path: String,
    pub(super) partition_values: BTreeMap<String, Option<String>>,
    pub(super) size: i64,
    pub(super) modification_time: i64,
    pub(super) data_change: bool,
    #[serde(default)]
    pub(super) stats: Option<String>,
}

/// A file that is no longer one of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    #[serde(default)]
    pub(super) deletion_timestamp: Option<i64>,
    pub(super) data_change: bool,
}

impl Action {
    pub(super) fn protocol() -> Action {
        // The oldest that everyone reads. What is newer (deletion vectors, column mapping, features
        // by name) would shut readers out and serve nothing here.
        let protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };
        Action { protocol: Some(protocol), ..Action::default() }
    }

    pub(super) fn of_meta_data(meta_data: MetaData) -> Action {
        Action { meta_data: Some(meta_data), ..Action::default() }
    }

    pub(super) fn of_txn(version: i64) -> Action {
        let txn = Txn { app_id: APP_ID.to_owned(), version };
        Action { txn: Some(txn), ..Action::default() }
    }

    pub(super) fn of_add(add: Add) -> Action {
        Action { add: Some(add), ..Action::default() }
    }

    pub(super) fn of_remove(remove: Remove) -> Action {
        Action { remove: Some(remove), ..Action::default() }
    }

    /// As a line.
    pub(super) fn write_to(&self, bytes: &mut Vec<u8>) {
        serde_json::to_writer(&mut *bytes, self).expect("a Vec takes every byte");
        bytes.push(b'\n');
    }
}

/// Under which name a `txn` action says up to which frame of the WAL the table goes.
pub(super) const APP_ID: &str = "doorbook";

/// The schema of files of these columns, and of a partition column of whole numbers, as Delta
/// writes it.
pub(super) fn schema_string(columns: &SchemaDescriptor, partition: Option<&str>) -> String {
    let field = |name: &str, kind: &str, nullable: bool| json!({ "name": name, "type": kind, "nullable": nullable, "metadata": {} });
    let fields = columns.root_schema().get_fields().iter();
    let fields = fields.map(|column| {
        let is_optional = column.get_basic_info().repetition() == Repetition::OPTIONAL;
        field(column.name(), type_name(column), is_optional)
    });
    let fields: Vec<Value> =
        fields.chain(partition.map(|name| field(name, "long", true))).collect();
    json!({ "type": "struct", "fields": fields }).to_string()
}

fn type_name(column: &Type) -> &'static str {
    let logical = column.get_basic_info().logical_type_ref();
    match (column.get_physical_type(), logical) {
        (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)) => "string",
        (PhysicalType::BYTE_ARRAY, _) => "binary",
        (PhysicalType::INT64, Some(LogicalType::Timestamp { .. })) => "timestamp",
        (PhysicalType::INT64, _) => "long",
        (PhysicalType::INT32, _) => "integer",
        (PhysicalType::BOOLEAN, _) => "boolean",
        (other, _) => unreachable!("no column is of type {other}"),
    }
}

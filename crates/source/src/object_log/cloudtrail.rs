//! Data events of CloudTrail, as Amazon describes them ("CloudTrail record contents", "CloudTrail
//! userIdentity element").
//!
//! A file is one JSON object, mostly packed by gzip, whose `Records` are the events
//! ([`Records`](super::Records)). Of an event is read: `eventTime` (whole seconds), `eventSource` (others than
//! S3 are passed over), `eventName`, `requestParameters` (`bucketName`, `key`, `prefix`, …),
//! `additionalEventData` (bytes), `sourceIPAddress` (of Amazon's own services their name), `userAgent` (in
//! brackets, if the console sent it), `errorCode`, `eventID`, and of `userIdentity` the best name there is.

use doorbook_event::Timestamp;
use serde::Deserialize;
use serde_json::Number;

use super::request::{Operation, Request, address};
use super::{Reader, Unreadable, unreadable};

pub fn read(
    reader: &mut Reader,
    record: &[u8],
    sink: &mut dyn FnMut(Request),
) -> Result<(), Unreadable> {
    let record = serde_json::from_slice::<Record>(record);
    let record =
        record.map_err(|error| unreadable(format!("is no event of CloudTrail: {error}")))?;
    if record.event_source != "s3.amazonaws.com" {
        return Ok(());
    }
    let parameters = record.request_parameters.unwrap_or_default();
    let operation = match &*record.event_name {
        "GetObject" => Operation::Get,
        "HeadObject" => Operation::Head,
        "ListObjects" | "ListObjectsV2" => parameters.list(),
        "PutObject" => Operation::Put,
        "UploadPart" => Operation::Part,
        "CreateMultipartUpload" => Operation::Begin,
        "CompleteMultipartUpload" => Operation::Complete,
        "CopyObject" => Operation::Copy,
        "DeleteObject" => Operation::Delete,
        _ => return Ok(()),
    };
    let Some(bucket) = parameters.bucket_name else { return Ok(()) };
    let key = match operation {
        Operation::List { .. } => parameters.prefix,
        _ => parameters.key,
    };
    let time = &record.event_time;
    let at = reader.times.iso(time.as_bytes()).or_else(|| time.parse::<Timestamp>().ok());
    let identity = record.user_identity.unwrap_or_default();
    let agent = record.user_agent.unwrap_or_default();
    let agent = agent.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&agent);
    let data = record.additional_event_data.unwrap_or_default();
    let bytes = |number: Option<Number>| number.as_ref().map_or(0, self::bytes);
    sink(Request {
        at: at.ok_or_else(|| unreadable("eventTime is not one such as 2019-02-01T03:18:19Z"))?,
        duration_micros: 0,
        bucket: reader.texts.text(bucket.as_bytes()),
        key: key.unwrap_or_default(),
        operation,
        requester: identity.name().and_then(|name| reader.text(name.as_bytes())),
        address: record.source_ip_address.and_then(|text| address(text.as_bytes())),
        user_agent: reader.text(agent.as_bytes()),
        bytes_sent: bytes(data.bytes_transferred_out),
        bytes_received: bytes(data.bytes_transferred_in),
        status: record.error_code.as_deref().map_or(200, status),
        error: record.error_code.and_then(|code| reader.text(code.as_bytes())),
        id: record.event_id.unwrap_or_default().into(),
    });
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_time: String,
    event_source: String,
    event_name: String,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    user_agent: Option<String>,
    error_code: Option<String>,
    #[serde(rename = "eventID")]
    event_id: Option<String>,
    request_parameters: Option<Parameters>,
    additional_event_data: Option<Data>,
    user_identity: Option<UserIdentity>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    bucket_name: Option<String>,
    key: Option<String>,
    prefix: Option<String>,
    delimiter: Option<String>,
    #[serde(rename = "max-keys")]
    max_keys: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    bytes_transferred_in: Option<Number>,
    bytes_transferred_out: Option<Number>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UserIdentity {
    arn: Option<String>,
    invoked_by: Option<String>,
    user_name: Option<String>,
    principal_id: Option<String>,
    account_id: Option<String>,
}

impl Parameters {
    fn list(&self) -> Operation {
        let max_keys = self.max_keys.as_ref().map(ToString::to_string).unwrap_or_default();
        let is_of_level = max_keys.trim_matches('"') != "1"
            && self.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty());
        Operation::List { is_of_level }
    }
}

impl UserIdentity {
    /// A user, a role's session and the account itself have a resource name; one of Amazon's services, a
    /// user of another account or of an identity provider only what is asked for after that.
    fn name(self) -> Option<String> {
        let UserIdentity { arn, invoked_by, user_name, principal_id, account_id } = self;
        let names = [arn, invoked_by, user_name, principal_id, account_id];
        let is_name = |name: &String| !name.is_empty() && name != "ANONYMOUS_PRINCIPAL";
        names.into_iter().flatten().find(is_name)
    }
}

/// Written as a whole number or as `1024.0`.
fn bytes(number: &Number) -> u64 {
    let rounded = number.as_f64().unwrap_or(0.0).clamp(0.0, 1e18);
    number.as_u64().unwrap_or(rounded as u64)
}

/// The status that S3 answers with such an error, as far as it matters here.
fn status(code: &str) -> u16 {
    match code {
        "AccessDenied" | "AllAccessDisabled" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" => {
            403
        }
        "ExpiredToken" | "InvalidToken" => 403,
        code if code.starts_with("NoSuch") || code == "NotFound" => 404,
        _ => 400,
    }
}

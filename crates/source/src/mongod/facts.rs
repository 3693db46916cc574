//! What is fixed about mongod: the message ids of its access component, its versions, its own
//! users, and which lines are worth keeping when they cannot be read.

use doorbook_event::{Class, Classes, Text};
use memchr::memmem;

/// A server version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As written, without a leading `v`.
    pub text: Text,
    /// Major and minor number.
    pub number: (u32, u32),
}

impl Version {
    /// 6.3 and 7.0 report attempts with metrics (5286306/5286307).
    pub const FIRST_WITH_METRICS: (u32, u32) = (6, 3);

    /// From `v4.2.6` or `7.0.16-rc0`.
    pub fn parse(text: &[u8]) -> Option<Version> {
        let text = text.strip_prefix(b"v").unwrap_or(text);
        let text = std::str::from_utf8(text.get(..32).unwrap_or(text)).ok()?;
        let text = text.split_ascii_whitespace().next()?;
        let mut numbers = text.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(Version { text: text.into(), number: (major, minor) })
    }
}

/// Message ids that are read.
pub mod id {
    /// SASL failure, 4.4 - 6.0.
    pub const FAILED: u64 = 20249;
    /// SASL success, 4.4 - 6.0.
    pub const SUCCEEDED: u64 = 20250;
    /// `authenticate` command (x.509) failure, 4.4 - 6.0.
    pub const COMMAND_FAILED: u64 = 20428;
    /// `authenticate` command (x.509) success, 4.4 - 6.0.
    pub const COMMAND_SUCCEEDED: u64 = 20429;
    /// Success, 7.0 and later.
    pub const SUCCEEDED_7: u64 = 5_286_306;
    /// Failure, 7.0 and later.
    pub const FAILED_7: u64 = 5_286_307;
    /// A user may not come from there.
    pub const RESTRICTED: u64 = 20240;
    /// A denied action.
    pub const DENIED: u64 = 20436;
    /// `Connection accepted`.
    pub const ACCEPTED: u64 = 22943;
    /// `Connection ended`.
    pub const ENDED: u64 = 22944;
    /// `client metadata`.
    pub const METADATA: u64 = 51800;
    /// `MongoDB starting`.
    pub const STARTING: u64 = 4_615_611;
    /// `***** SERVER RESTARTED *****`.
    pub const RESTARTED: u64 = 20698;
    /// `Build Info`.
    pub const BUILD_INFO: u64 = 23403;
    /// `Options set by command line`.
    pub const OPTIONS: u64 = 21951;
    /// `Process Details`, at the head of a rotated file.
    pub const PROCESS_DETAILS: u64 = 20721;
    /// `Successfully set parameter to new value`.
    pub const PARAMETER_SET: u64 = 23435;
}

/// Ids of the access component that are known not to be events.
const KNOWN_CONTEXT: [u64; 26] = [
    20226, 20235, 20237, 20248, 20251, 20427, 20430, 24030, 29052, 5_286_200, 5_286_202, 5_286_203,
    5_286_300, 5_286_301, 5_286_304, 5_315_501, 5_626_600, 5_626_700, 5_626_701, 5_626_702,
    5_859_101, 6_697_500, 6_788_604, 6_788_606, 8_209_201, 10_483_900,
];

/// Whether an id of the access component is known not to be an event.
pub fn is_context(id: u64) -> bool {
    KNOWN_CONTEXT.contains(&id)
}

/// Whether an id is an event, if its severity is `I`.
pub fn is_event(id: u64) -> bool {
    matches!(
        id,
        id::FAILED
            | id::SUCCEEDED
            | id::COMMAND_FAILED
            | id::COMMAND_SUCCEEDED
            | id::SUCCEEDED_7
            | id::FAILED_7
            | id::RESTRICTED
            | id::DENIED
    )
}

/// What a name says of who it is.
pub fn classes_of(user: &[u8], is_cluster_member: bool, application: Option<&str>) -> Classes {
    if user == b"__system" || is_cluster_member {
        return Classes::NONE.with(Class::System);
    }
    let is_agent = user.starts_with(b"mms-") || MONITOR_USERS.contains(&user);
    let is_monitor = |name: &str| MONITOR_APPLICATIONS.iter().any(|known| name.starts_with(known));
    if is_agent || application.is_some_and(is_monitor) {
        return Classes::NONE.with(Class::Monitor);
    }
    Classes::NONE
}

const MONITOR_USERS: [&[u8]; 3] = [b"mongodb_exporter", b"mongodb-exporter", b"pmm_mongodb"];
const MONITOR_APPLICATIONS: [&str; 5] = [
    "MongoDB Automation Agent",
    "MongoDB Monitoring",
    "MongoDB Backup",
    "MongoDB CPS Module",
    "mongodb_exporter",
];

/// Whether bytes that cannot be read may be an authentication or a denial.
pub fn looks_like_access(bytes: &[u8]) -> bool {
    // Other programs' lines stand between mongod's in some collected logs, and applications write
    // "Authentication failed" too; so these are mongod's own spellings only.
    const SIGNS: [&[u8]; 15] = [
        b"\"ACCESS\"",
        b" ACCESS ",
        b"IACCESS ",
        b"Successfully authenticated as principal",
        b" authentication failed for ",
        b" with mechanism ",
        b"\"msg\":\"Authentication failed",
        b"\"msg\":\"Authentication succeeded",
        b"\"msg\":\"Successful authentication",
        b"\"msg\":\"Successfully authenticated",
        b"\"msg\":\"Failed to authenticate",
        b"\"id\":20249",
        b"\"id\":20250",
        b"\"id\":5286306",
        b"\"id\":5286307",
    ];
    SIGNS.iter().any(|sign| memmem::find(bytes, sign).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |text: &str, expected: Option<(&str, (u32, u32))>| {
            let got = Version::parse(text.as_bytes());
            assert_eq!(got.as_ref().map(|v| (v.text.as_str(), v.number)), expected, "{text}");
        };
        check("v4.2.6", Some(("4.2.6", (4, 2))));
        check("8.0.16-5", Some(("8.0.16-5", (8, 0))));
        check("v2.6.0 extra", Some(("2.6.0", (2, 6))));
        check("", None);
        check("vx.y", None);
    }

    #[test]
    fn users_have_classes() {
        assert!(classes_of(b"__system", false, None).contains(Class::System));
        assert!(classes_of(b"CN=peer", true, None).contains(Class::System));
        assert!(classes_of(b"mms-automation", false, None).contains(Class::Monitor));
        assert!(
            classes_of(b"x", false, Some("MongoDB Automation Agent v1")).contains(Class::Monitor)
        );
        assert_eq!(classes_of(b"root", false, Some("mongosh")), Classes::NONE);
    }
}

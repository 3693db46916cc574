//! A line by itself, long after its neighbours: what was put aside is read again.

use doorbook_event::record::Quarantine;
use doorbook_event::{Access, Action, Class, Outcome, Text};
use jiff::tz::TimeZone;

use super::{FileHints, Interpreter, LinePlace, Settings};
use crate::Batch;

/// What a line says that was put aside once.
#[derive(Clone, Debug, PartialEq)]
pub enum Reread {
    /// An event.
    Event(Box<Access>),
    /// It is no record, by the rules of this version.
    NoRecord,
    /// It still cannot be read; why.
    Unreadable(Text),
}

/// Reads a line that was put aside. Nothing is known of its connection, so that a success is
/// unconfirmed, and of the client only what the line itself says. Lines that mean something only
/// beside their neighbours stay where they are: half a record must not become a login.
pub fn read_alone(quarantine: &Quarantine) -> Reread {
    let Quarantine { target, reason, place, bytes, length_bytes, .. } = quarantine;
    if bytes.len() as u64 != *length_bytes {
        return Reread::Unreadable("only the beginning of the line was kept".into());
    }
    if bytes.first() != Some(&b'{') {
        return Reread::Unreadable("a line of text is read only beside its neighbours".into());
    }
    if [super::CUT, super::PART].contains(&&**reason) {
        return Reread::Unreadable(reason.clone());
    }
    // Lines of JSON have their own zone.
    let mut interpreter =
        Interpreter::new(Settings { target: target.clone(), zone: TimeZone::UTC });
    let mut batch = Batch::default();
    let hints = FileHints { name: place.file.clone(), ..FileHints::default() };
    interpreter.begin_file(hints, false, &mut batch);
    let at = LinePlace { line: place.line, offset_bytes: place.offset_bytes };
    interpreter.line(bytes, at, &mut batch);
    interpreter.finish(&mut batch);
    if let Some(still) = batch.quarantine.pop() {
        return Reread::Unreadable(still.reason);
    }
    if let Some(unknown) = batch.unknown_ids.first() {
        return Reread::Unreadable(format!("message {} is not known", unknown.id).into());
    }
    match batch.accesses.pop() {
        None => Reread::NoRecord,
        Some(mut access) => {
            let is_login =
                access.action == Action::Authenticate && access.outcome == Outcome::Success;
            if is_login && !access.classes.contains(Class::Suspect) {
                access.classes.insert(Class::Unconfirmed);
            }
            Reread::Event(Box::new(access))
        }
    }
}

#[cfg(test)]
mod tests {
    use doorbook_event::Target;
    use doorbook_event::record::Place;

    use super::*;

    fn read(reason: &str, line: &str) -> Reread {
        let target = Target::Host { cluster: "orders".into(), host: "db-1:27017".into() };
        let (bytes, length_bytes) = (line.as_bytes().to_vec(), line.len() as u64);
        let place = Place { file: "mongod.log".into(), line: 7, offset_bytes: 700 };
        let reason = reason.into();
        let sha256 = [0; 32];
        read_alone(&Quarantine { target, reason, place, bytes, length_bytes, sha256 })
    }

    fn json(id: u32, attributes: &str) -> String {
        format!(
            "{{\"t\":{{\"$date\":\"2026-11-20T04:00:00.000+00:00\"}},\"s\":\"I\",\"c\":\"ACCESS\",\
             \"id\":{id},\"ctx\":\"conn7\",\"msg\":\"Authentication\",\"attr\":{{{attributes}}}}}"
        )
    }

    #[track_caller]
    fn is_unreadable(reread: &Reread, part: &str) {
        let Reread::Unreadable(reason) = reread else { panic!("{reread:?}") };
        assert!(reason.contains(part), "{reason}");
    }

    /// Goal: a line that this version can read is the event it would have been, but for what only its
    /// neighbours tell. Method: lines as an older version may have left them, that is with a reason
    /// this version would not give.
    #[test]
    fn what_can_be_read_now_is_an_event() {
        let who = "\"user\":\"alice\",\"db\":\"admin\",\"remote\":\"10.0.0.1:4000\"";
        let line = json(5_286_306, who);
        let Reread::Event(access) = read("an older reason", &line) else { panic!("an event") };
        assert_eq!(access.raw, line.as_bytes());
        assert_eq!((access.connection, access.process_start), (Some(7), None));
        assert!(access.classes.contains(Class::Unconfirmed), "{:?}", access.classes);
        let failure = json(5_286_307, &format!("{who},\"error\":\"no\",\"result\":18"));
        let Reread::Event(access) = read("an older reason", &failure) else { panic!("an event") };
        assert!(!access.classes.contains(Class::Unconfirmed), "a failure needs no confirmation");
        assert_eq!(read("an older reason", "{\"atype\":\"authCheck\"}"), Reread::NoRecord);
    }

    /// Goal: what cannot be judged alone is not. Method: each kind of such a line, readable or not.
    #[test]
    fn what_needs_its_neighbours_stays() {
        let who = "\"user\":\"alice\",\"db\":\"admin\",\"remote\":\"10.0.0.1:4000\"";
        let line = json(5_286_306, who);
        is_unreadable(&read("", &json(5_286_306, "")), "the user is missing");
        is_unreadable(&read(super::super::CUT, &line), "end of the line");
        is_unreadable(&read(super::super::PART, &line), "part of another");
        is_unreadable(&read("", &json(1, who)), "message 1 is not known");
        let text = "2019-11-20T04:00:00.000+0000 I ACCESS   [conn7] Successfully authenticated as \
                    principal alice on admin from client 10.0.0.1:4000";
        is_unreadable(&read("", text), "beside its neighbours");
        let target = Target::Host { cluster: "orders".into(), host: "db-1:27017".into() };
        let head = Quarantine {
            target,
            reason: "".into(),
            place: Place::default(),
            bytes: line.into_bytes(),
            length_bytes: 100_000,
            sha256: [0; 32],
        };
        is_unreadable(&read_alone(&head), "only the beginning");
    }
}

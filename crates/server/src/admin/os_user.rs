//! Users of the machine that Doorbook runs on.

use doorbook_event::record::Actor;
use doorbook_event::{Peer, Principal};

/// The user this process acts as: the effective one, which is what the kernel tells the other end
/// of a socket too.
pub fn current() -> Actor {
    Actor { principal: principal(current_uid()), peer: Peer::Unknown }
}

/// The effective user id of this process.
pub fn current_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A user by id, with the name where `/etc/passwd` knows one. Users of a directory service keep
/// only their number: asking the C library for them would need `unsafe` code.
pub fn principal(uid: u32) -> Principal {
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    Principal::OsUser { uid, name: name_of(&passwd, uid).map(Into::into) }
}

fn name_of(passwd: &[u8], uid: u32) -> Option<String> {
    let text = String::from_utf8_lossy(passwd);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\n:x:7:7::/:\nann:x:1000:1000::/home/ann:\n";
        assert_eq!(name_of(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(name_of(passwd, 7), None);
        assert_eq!(name_of(passwd, 100), None);
    }
}

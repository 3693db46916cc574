//! [`Syslog`]: a message as one line of RFC 5424.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use doorbook_store::alarm::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};

use super::deliver::Failure;

/// Where lines are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syslog {
    /// One datagram each.
    Udp(String),
    /// One connection each, with octet counting (RFC 6587).
    Tcp(String),
    /// One datagram each, to a socket of this machine.
    Unix(PathBuf),
}

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(15);

impl FromStr for Syslog {
    type Err = String;

    fn from_str(text: &str) -> Result<Syslog, String> {
        let has_port = |address: &str| {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
        };
        let address = |rest: &str| has_port(rest).then(|| rest.to_owned());
        let parsed = if let Some(rest) = text.strip_prefix("udp://") {
            address(rest).map(Syslog::Udp)
        } else if let Some(rest) = text.strip_prefix("tcp://") {
            address(rest).map(Syslog::Tcp)
        } else {
            let path = text.strip_prefix("unix:").filter(|path| path.starts_with('/'));
            path.map(|path| Syslog::Unix(path.into()))
        };
        parsed.ok_or_else(|| {
            format!("{text:?} is no syslog; write udp://HOST:514, tcp://HOST:601 or unix:/dev/log")
        })
    }
}

impl Syslog {
    /// One try.
    pub async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        match tokio::time::timeout(TIMEOUT, self.send(&line(message))).await {
            Ok(sent) => sent.map_err(|error| Failure::Again(error.to_string())),
            Err(_) => Err(Failure::Again("it cannot be reached in time".to_owned())),
        }
    }

    async fn send(&self, line: &str) -> std::io::Result<()> {
        match self {
            Syslog::Udp(address) => {
                let mut addresses = tokio::net::lookup_host(address).await?;
                let to = addresses.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.send_to(line.as_bytes(), to).await.map(drop)
            }
            Syslog::Tcp(address) => {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(format!("{} {line}", line.len()).as_bytes()).await?;
                stream.shutdown().await
            }
            Syslog::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.send_to(line.as_bytes(), path).await.map(drop)
            }
        }
    }
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Syslog::Udp(address) => write!(f, "udp://{address}"),
            Syslog::Tcp(address) => write!(f, "tcp://{address}"),
            Syslog::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Facility daemon; a warning, or a notice that it is over. Receivers know from where it came.
fn line(message: &Message) -> String {
    const DAEMON: u8 = 3;
    const WARNING: u8 = 4;
    const NOTICE: u8 = 5;
    let priority = DAEMON * 8 + if message.is_end { NOTICE } else { WARNING };
    // The standard's name for UTF-8 before a message that is not ASCII alone.
    let mark = if message.text.is_ascii() { "" } else { "\u{feff}" };
    let (at, kind, text) = (message.at, &message.kind, &message.text);
    format!("<{priority}>1 {at} - doorbook - {kind} - {mark}{text} ({})", message.alarm)
}

#[cfg(test)]
mod tests {
    use doorbook_event::Timestamp;

    use super::*;

    #[test]
    fn a_line_is_what_the_standard_says() {
        let message = Message {
            id: "msg_1".into(),
            alarm: "al-1".into(),
            kind: "coverage.gap.opened".into(),
            at: Timestamp::from_seconds(1_700_000_000),
            text: "db-1 blind".into(),
            body: "{}".into(),
            waiting: Vec::new(),
            is_end: false,
        };
        let expected =
            "<28>1 2023-11-14T22:13:20Z - doorbook - coverage.gap.opened - db-1 blind (al-1)";
        assert_eq!(line(&message), expected);
        let message = Message { is_end: true, text: "dé".into(), ..message };
        assert!(line(&message).starts_with("<29>1 "));
        assert!(line(&message).ends_with(" - \u{feff}dé (al-1)"));
    }

    #[test]
    fn an_address_has_a_port() {
        for good in
            ["udp://127.0.0.1:514", "tcp://logs.example:601", "udp://[::1]:514", "unix:/dev/log"]
        {
            assert_eq!(good.parse::<Syslog>().expect(good).to_string(), good);
        }
        for bad in ["", "127.0.0.1:514", "udp://127.0.0.1", "tcp://:514", "udp://x:0", "unix:log"] {
            assert!(bad.parse::<Syslog>().is_err(), "{bad}");
        }
    }
}
